import { parseArgs } from 'node:util';
import { startSimulator } from './server.js';
import { builds, type BuildName } from './wire.js';

/** `node dist/main.js [--port N] [--control-port N] [--build NAME] [--journal FILE] [--data FILE]`: prints one line of JSON and runs until it is stopped. */
const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    'control-port': { type: 'string' },
    build: { type: 'string' },
    journal: { type: 'string' },
    data: { type: 'string' },
  },
});
if (values.build && !(values.build in builds)) {
  console.error(`There is no build ${values.build}. Choose one of ${Object.keys(builds).join(', ')}.`);
  process.exit(1);
}
const simulator = await startSimulator({
  port: Number(values.port ?? 0),
  controlPort: Number(values['control-port'] ?? 0),
  ...(values.build ? { build: values.build as BuildName } : {}),
  ...(values.journal ? { journalFile: values.journal } : {}),
  ...(values.data ? { dataFile: values.data } : {}),
});
const { httpsPort, controlUrl, phoneUrl, browserArgs } = simulator;
console.log(JSON.stringify({ httpsPort, controlUrl, phoneUrl, browserArgs }));
/** How long open connections may delay the exit. */
const stopWithinMs = 5_000;
// Its parent may be gone, and the pipe with it.
process.stdout.on('error', () => undefined);
function stop(): void {
  setTimeout(() => process.exit(1), stopWithinMs);
  void simulator.close().then(() => process.exit(0));
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop);
if (process.send) {
  process.once('disconnect', stop);
  // The parent may have ended while the simulator started.
  if (!process.connected) stop();
}
