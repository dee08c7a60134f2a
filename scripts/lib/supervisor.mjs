import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * Keeps a few processes running and stops them together.
 *
 *   idle ──start──► running ──exit──► waiting ──backoff──► running
 *                      │                 │
 *                      └──stop──► stopping ──exit──► stopped
 *
 * A process that ends by itself is started again after 1 s, 2 s, 4 s … 30 s; one that ran for a minute begins at 1 s again.
 * A process that has never been ready and ends `attempts` times is not started again: `onGiveUp` hears of it.
 * An IPC channel ties each process to this one: when we are killed, it closes and they stop by themselves.
 */
export function createSupervisor({
  onLine = () => {},
  onRestart = () => {},
  onGiveUp = () => {},
  onStart = () => {},
  firstDelayMs = 1000,
  longestDelayMs = 30_000,
  settledAfterMs = 60_000,
  attempts = 3,
} = {}) {
  const parts = new Map();
  let isStopping = false;

  function run(part) {
    part.startedAt = Date.now();
    part.lastLines = [];
    const child = spawn(process.execPath, [...(part.nodeArgs ?? []), part.program, ...(part.args ?? [])], {
      cwd: part.cwd,
      env: part.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A process group of its own: Ctrl-C on the terminal reaches only us, and each process hears of the stop once.
      detached: process.platform !== 'win32',
    });
    part.child = child;
    part.state = 'running';
    for (const stream of ['stdout', 'stderr']) {
      createInterface({ input: child[stream] }).on('line', (line) => {
        part.lastLines = [...part.lastLines.slice(-39), line];
        onLine(part.name, line, stream);
      });
    }
    child.on('error', (error) => onLine(part.name, `cannot be started: ${error.message}`, 'stderr'));
    // 'close' and not 'exit': the last lines have been read by then.
    child.on('close', (code, signal) => ended(part, code, signal));
    onStart(part.name, child.pid);
  }

  function ended(part, code, signal) {
    part.child = null;
    if (isStopping || part.isHeld) {
      part.state = 'stopped';
      part.onStopped?.();
      return;
    }
    if (Date.now() - part.startedAt > settledAfterMs) part.failures = 0;
    part.failures += 1;
    if (!part.wasReady && part.failures >= attempts) {
      part.state = 'stopped';
      onGiveUp(part.name, { code, signal, lastLines: part.lastLines });
      return;
    }
    const delayMs = Math.min(longestDelayMs, firstDelayMs * 2 ** (part.failures - 1));
    part.state = 'waiting';
    onRestart(part.name, { code, signal, delayMs });
    part.timer = setTimeout(() => run(part), delayMs);
  }

  /** Asks one process to end and kills it when it has not after `graceMs`. Windows knows no SIGTERM; the closed channel says the same. */
  function end(part, graceMs) {
    clearTimeout(part.timer);
    if (!part.child) {
      part.state = 'stopped';
      return Promise.resolve('ended');
    }
    part.state = 'stopping';
    const { child } = part;
    return new Promise((resolve) => {
      let outcome = 'ended';
      const timer = setTimeout(() => {
        outcome = 'killed';
        child.kill('SIGKILL');
      }, graceMs);
      part.onStopped = () => {
        clearTimeout(timer);
        part.onStopped = null;
        resolve(outcome);
      };
      if (process.platform === 'win32') child.disconnect();
      else child.kill('SIGTERM');
    });
  }

  return {
    /** `{name, program, args, env, cwd}`; `program` is a JavaScript file. */
    start(part) {
      const entry = { ...part, failures: 0, wasReady: false, state: 'idle' };
      parts.set(part.name, entry);
      run(entry);
    },
    markReady(name) {
      parts.get(name).wasReady = true;
    },
    state: (name) => parts.get(name)?.state,
    pid: (name) => parts.get(name)?.child?.pid,
    names: () => [...parts.keys()],
    running: () => [...parts.values()].filter((part) => part.child).map((part) => part.name),
    /** Ends one process in order and starts it anew, as after a change of its code. */
    async restart(name, graceMs = 10_000) {
      const part = parts.get(name);
      part.isHeld = true;
      await end(part, graceMs);
      part.isHeld = false;
      if (!isStopping) run(part);
    },
    /**
     * Stops all, the last started first: the worker's last events find the backend still there. `graceMs` is for all together, and 3 s
     * are left to each in any case. Resolves to the names of those that had to be killed.
     */
    async stop(graceMs = 35_000) {
      isStopping = true;
      const deadline = Date.now() + graceMs;
      const killed = [];
      for (const part of parts.values()) clearTimeout(part.timer);
      for (const part of [...parts.values()].reverse()) {
        if ((await end(part, Math.max(Math.min(graceMs, 3000), deadline - Date.now()))) === 'killed') killed.push(part.name);
      }
      return killed;
    },
  };
}
