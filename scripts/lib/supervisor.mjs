import { spawn } from 'node:child_process';
import { readLines } from './lines.mjs';

/** How long the last lines of a process are awaited after its end. */
const lastLinesMs = 1000;
/** A killed process ends at once, unless it waits for a disk. */
const killMs = 3000;

/**
 * Keeps a few processes running and stops them together.
 *
 *   idle ──start──► running ──exit──► waiting ──backoff──► running
 *                      │                 │
 *                      └──stop──► stopping ──exit──► stopped
 *
 * A process that ends by itself is started again after 1 s, 2 s, 4 s … 30 s; one that ran for a minute begins at 1 s again.
 * A process that has never been ready and ends `attempts` times is not started again: `onGiveUp` is called.
 * An IPC channel ties each process to this one: when we are killed, it closes and they stop by themselves.
 *
 * Returns:
 * - `start({name, program, args, env, cwd})`; `program` is a JavaScript file.
 * - `markReady(name)`: the process serves requests.
 * - `state(name)`, `pid(name)`, `names()`, `running()`: the names of the processes that exist.
 * - `kill(name)`: kills one process, which is then started again like one that ended by itself.
 * - `restart(name, graceMs)`: ends one process in order and starts it again, as after a change of its code.
 * - `stop(graceMs, leastMs)`: ends all, the last started first, so that the worker's last events still reach the backend. `graceMs` is for all
 *   of them; each process that is still to be stopped gets at least `leastMs`. Resolves to `{name, how}` for each that did not end in order.
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
  const context = {
    onLine,
    onRestart,
    onGiveUp,
    onStart,
    firstDelayMs,
    longestDelayMs,
    settledAfterMs,
    attempts,
    parts: new Map(),
    isStopping: false,
  };
  const { parts } = context;
  return {
    start(part) {
      const entry = { ...part, failures: 0, wasReady: false, isRestarting: false, state: 'idle' };
      parts.set(part.name, entry);
      run(context, entry);
    },
    markReady(name) {
      parts.get(name).wasReady = true;
    },
    state: (name) => parts.get(name)?.state,
    pid: (name) => parts.get(name)?.child?.pid,
    names: () => [...parts.keys()],
    running: () => [...parts.values()].filter((part) => part.child).map((part) => part.name),
    kill: (name) => void parts.get(name)?.child?.kill('SIGKILL'),
    restart: (name, graceMs = 10_000) => restart(context, parts.get(name), graceMs),
    stop: (graceMs = 25_000, leastMs = Math.min(graceMs, 3000)) => stopAll(context, graceMs, leastMs),
  };
}

function run(context, part) {
  const { onLine, onStart } = context;
  Object.assign(part, { startedAt: performance.now(), lastLines: [], child: null, state: 'running' });
  let child;
  try {
    child = spawn(process.execPath, [...(part.nodeArgs ?? []), part.program, ...(part.args ?? [])], {
      cwd: part.cwd,
      env: part.env,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      // A process group of its own: Ctrl-C on the terminal reaches only us, and each process gets the stop once.
      detached: process.platform !== 'win32',
    });
  } catch (error) {
    // No memory or no process number is left. A later attempt may succeed.
    onLine(part.name, `cannot be started: ${error.message}`, 'stderr');
    ended(context, part, null, null);
    return;
  }
  part.child = child;
  readOutput(context, part, child);
  watchEnd(context, part, child);
  if (child.pid !== undefined) onStart(part.name, child.pid);
}

function readOutput({ onLine }, part, child) {
  for (const stream of ['stdout', 'stderr']) {
    if (!child[stream]) continue;
    readLines(child[stream], (line) => {
      part.lastLines = [...part.lastLines.slice(-39), line];
      onLine(part.name, line, stream);
    });
  }
}

/** Calls `ended` once, after the last lines of the process. */
function watchEnd(context, part, child) {
  let isOver = false;
  const over = (code, signal) => {
    if (isOver) return;
    isOver = true;
    ended(context, part, code, signal);
  };
  child.on('error', (error) => {
    context.onLine(part.name, `cannot be started: ${error.message}`, 'stderr');
    if (child.pid === undefined) over(null, null);
  });
  child.on('close', over);
  // 'close' comes when the last lines have been read. A process of its own that has inherited its output would put that off for ever.
  child.on('exit', (code, signal) => {
    const late = () => {
      for (const stream of [child.stdout, child.stderr]) stream?.destroy();
      over(code, signal);
    };
    setTimeout(late, lastLinesMs).unref();
  });
}

/** Decides what follows: nothing if the process was stopped, otherwise another start after a delay, or giving up. */
function ended(context, part, code, signal) {
  const { onRestart, onGiveUp, firstDelayMs, longestDelayMs, settledAfterMs, attempts } = context;
  part.child = null;
  if (context.isStopping || part.isRestarting) {
    part.state = 'stopped';
    part.onStopped?.({ code, signal });
    return;
  }
  if (performance.now() - part.startedAt > settledAfterMs) part.failures = 0;
  part.failures += 1;
  if (!part.wasReady && part.failures >= attempts) {
    part.state = 'stopped';
    onGiveUp(part.name, { code, signal, lastLines: part.lastLines });
    return;
  }
  const delayMs = Math.min(longestDelayMs, firstDelayMs * 2 ** (part.failures - 1));
  part.state = 'waiting';
  onRestart(part.name, { code, signal, delayMs, failures: part.failures });
  part.timer = setTimeout(() => run(context, part), delayMs);
}

/**
 * Asks one process to end and kills it when it has not after `graceMs`. Windows knows no SIGTERM; the closed channel says the same.
 * Resolves to null when it ended in order, otherwise to how it ended. A process that even SIGKILL does not end is left behind.
 */
function end(part, graceMs) {
  clearTimeout(part.timer);
  if (!part.child) {
    part.state = 'stopped';
    return Promise.resolve(null);
  }
  part.state = 'stopping';
  const { child } = part;
  return new Promise((resolve) => {
    let isKilled = false;
    let timer = setTimeout(() => {
      isKilled = true;
      child.kill('SIGKILL');
      timer = setTimeout(finish, killMs, { code: null, signal: null });
    }, graceMs);
    function finish({ code, signal }) {
      clearTimeout(timer);
      part.onStopped = null;
      if (isKilled) resolve('was killed');
      else resolve(code === 0 || signal === 'SIGTERM' ? null : `ended with ${signal ?? `code ${code}`}`);
    }
    part.onStopped = finish;
    if (process.platform === 'win32') child.disconnect();
    else child.kill('SIGTERM');
  });
}

async function restart(context, part, graceMs) {
  part.isRestarting = true;
  await end(part, graceMs);
  part.isRestarting = false;
  if (!context.isStopping) run(context, part);
}

async function stopAll(context, graceMs, leastMs) {
  context.isStopping = true;
  const deadline = performance.now() + graceMs;
  const unfinished = [];
  const parts = [...context.parts.values()];
  for (const part of parts) clearTimeout(part.timer);
  const waiting = parts.reverse();
  for (const [index, part] of waiting.entries()) {
    const reserved = (waiting.length - index - 1) * leastMs;
    const how = await end(part, Math.max(leastMs, deadline - performance.now() - reserved));
    if (how) unfinished.push({ name: part.name, how });
  }
  return unfinished;
}
