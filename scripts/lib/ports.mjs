import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { findOnPath, runCommand } from './command.mjs';
import { commandOf } from './processes.mjs';
import { Problem } from './terminal.mjs';

/** Null when the port can be listened on; otherwise the error's code, such as EADDRINUSE or EACCES. */
export function portTrouble(port, host) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error) => resolve(error.code));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

/** Whether something answers a TCP connection. */
export function answers(port, host, timeoutMs = 3000) {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: timeoutMs });
    const end = (result) => {
      socket.destroy();
      resolve(result);
    };
    socket
      .once('connect', () => end(true))
      .once('timeout', () => end(false))
      .once('error', () => end(false));
  });
}

/**
 * Throws a `Problem` that names the port, who holds it and the setting to change. A port that is in use is asked for again for `patienceMs`:
 * after a process has ended, the system may still be closing its sockets.
 */
export async function requireFreePort({ port, host, setting, patienceMs = 0 }) {
  const until = performance.now() + patienceMs;
  let trouble = await portTrouble(port, host);
  while (trouble === 'EADDRINUSE' && performance.now() < until) {
    await sleep(100);
    trouble = await portTrouble(port, host);
  }
  if (!trouble) return;
  if (trouble === 'EACCES') {
    throw new Problem(
      `This user may not listen on port ${port}.`,
      `Set ${setting} to a port above 1023 in .env, and put a proxy before it.`,
    );
  }
  if (trouble === 'EADDRNOTAVAIL' || trouble === 'ENOTFOUND') {
    const name = setting === 'PORT' ? 'HOST' : 'WORKER_HOST';
    throw new Problem(
      `${name} is ${host}, which is no address of this machine.`,
      `Set ${name} to 127.0.0.1, or to 0.0.0.0 for all its addresses.`,
    );
  }
  if (trouble !== 'EADDRINUSE') {
    const name = setting === 'PORT' ? 'HOST' : 'WORKER_HOST';
    throw new Problem(
      `Port ${port} of ${host} cannot be listened on (${trouble}).`,
      `Set ${name} to an address of this machine, such as 127.0.0.1; where IPv6 is off, no address of IPv6 can be used.`,
    );
  }
  const holder = await holderOf(port);
  throw new Problem(
    `Port ${port} is in use${holder ? ` by ${holder}` : ''}.`,
    `End that program, or give Chasqui another port: ${setting}=${port + 1} in .env (or before the command).`,
  );
}

/** "node (pid 123)" where this system lets us know, else null. */
async function holderOf(port) {
  if (process.platform === 'linux') return holderFromProc(port);
  const lsof = process.platform === 'darwin' ? findOnPath('lsof') : null;
  if (!lsof) return null;
  const { output } = await runCommand(lsof, ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], { timeoutMs: 5000 });
  const pid = /^p(\d+)/m.exec(output)?.[1];
  return pid ? `${/^c(.*)/m.exec(output)?.[1] ?? 'a program'} (pid ${pid})` : null;
}

function holderFromProc(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const inodes = new Set();
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const row of quietly(() => readFileSync(table, 'utf8').split('\n'), [])) {
      const [, local, , state, , , , , , inode] = row.trim().split(/\s+/);
      if (state === '0A' && local?.endsWith(`:${hex}`)) inodes.add(`socket:[${inode}]`);
    }
  }
  for (const pid of quietly(() => readdirSync('/proc'), []).filter((name) => /^\d+$/.test(name))) {
    const sockets = quietly(() => readdirSync(`/proc/${pid}/fd`), []).map((fd) =>
      quietly(() => readlinkSync(`/proc/${pid}/fd/${fd}`), ''),
    );
    if (sockets.some((socket) => inodes.has(socket)))
      return `${commandOf(Number(pid))?.slice(0, 120) ?? 'a program'} (pid ${pid})`;
  }
  return null;
}

/** Other users' processes, and those that ended meanwhile, cannot be read; they are no finding. */
function quietly(read, otherwise) {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
