import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the ports that systems give to outgoing connections (32768 and up on Linux): one of those may be used by another program while the process that should
 * listen on it is still starting, which takes seconds on a busy machine.
 */
const range = { from: 10_000, to: 32_000 };

/** A free port, for a process that needs its port as a setting. */
export async function freePort(): Promise<number> {
  for (let tries = 0; ; tries += 1) {
    // Not Math.random: in tests that follows the seed, and two test files would ask for the same ports at the same time.
    const port = randomInt(range.from, range.to);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
      await new Promise((done) => server.close(done));
      return port;
    } catch (error) {
      if (tries === 50) throw error;
    }
  }
}
