import { Writable } from 'node:stream';
import { createLifecycle, type LifecycleLog } from './lifecycle.js';

/**
 * Starts and ends a process: handles signals, the parent's channel, uncaught errors, the time limit of a stop, exit codes, and log output whose
 * reader is gone. This is one of the entries of `shared` that use the operating system, because both processes need it.
 *
 * | what happens | what follows |
 * | --- | --- |
 * | SIGTERM, SIGINT, SIGHUP, or the parent closes its channel (it died) | orderly stop, exit code 0 |
 * | the same while the process is still starting | exit code 0 at once; nothing was accepted yet |
 * | an uncaught exception | logged, orderly stop, exit code 1 |
 * | a part fails to stop or exceeds its time limit | the others are stopped, exit code 1 |
 * | the stop exceeds `stopWithinMs` | logged, exit code 1; SIGKILL to itself when a system call does not return |
 * | the reader of stdout or stderr goes away or stops reading, or its disk is full | nothing; lines are lost until it reads again |
 */

export type ProcessLog = LifecycleLog;

/** The parts of the running program that `runProcess` needs. */
export interface Running {
  log: ProcessLog;
  /** Resolves to the names of the parts that did not stop in order. */
  close(): Promise<readonly string[]>;
  /** Runs for each unhandled promise rejection, which is logged and does not end the process. */
  noteTrouble?: (error: unknown) => void;
}

export interface ProcessOptions {
  /** The name in log lines: `backend`, `worker`. */
  name: string;
  start(): Promise<Running>;
  /** The sentence for an error of `start`, or null when it is a bug: then its stack is printed. */
  explain(error: unknown): string | null;
  errorFields(error: unknown): Record<string, unknown>;
  stopWithinMs?: number;
}

/** How long an orderly stop may take in all. The start script waits a little longer before it kills. */
const defaultStopWithinMs = 20_000;
/** After this many exceptions the process exits at once: an exception in each cycle of the event loop would prevent every timer from running. */
const maxExceptions = 20;
/** How long the last log lines, or a system call in Node's thread pool (a name lookup, a file on a disk that does not answer), may delay the end. */
const lastWordsMs = 1_000;

const guarded = new WeakSet<NodeJS.WritableStream>();

/** Adds an `error` listener. Without one, a lost reader causes an uncaught exception, whose log line causes the same error again. */
function ignoreErrors(stream: TerminalStream): void {
  if (guarded.has(stream)) return;
  guarded.add(stream);
  stream.on('error', () => undefined);
  // Node writes to a terminal with blocking calls: a terminal that stops reading (Ctrl-S, a broken connection) would block the process.
  if (stream.isTTY) stream._handle?.setBlocking?.(false);
}

/** `setBlocking` is not public, so other versions of Node may not have it. */
type TerminalStream = NodeJS.WritableStream & { isTTY?: boolean; _handle?: { setBlocking?: (isBlocking: boolean) => void } };

/**
 * Creates a stream for log lines. It never throws, emits no error and never waits for the reader: when more than `maxBufferedBytes` are waiting
 * because the reader does not read, lines are dropped, and their number is logged once it reads again.
 */
export function createLogOutput(target: Writable = process.stdout, maxBufferedBytes = 4 * 1024 * 1024): Writable {
  ignoreErrors(target);
  let dropped = 0;
  return new Writable({
    decodeStrings: false,
    write(line: string | Buffer, _encoding, callback) {
      if (target.writableLength + line.length > maxBufferedBytes) dropped += 1;
      else {
        if (dropped > 0) {
          const message = 'Log lines were dropped because the reader of the log did not keep up.';
          target.write(`${JSON.stringify({ level: 'warn', message, dropped, timestamp: new Date().toISOString() })}\n`);
          dropped = 0;
        }
        target.write(line);
      }
      callback();
    },
  });
}

/**
 * Creates a writer of log lines that is for one line of every request. The lines of one turn of the event loop are written at once, because each write
 * costs as much as making some lines.
 */
export function createLineWriter(output: Writable = createLogOutput()): (line: string) => void {
  let waiting = '';
  const flush = (): void => {
    output.write(waiting);
    waiting = '';
  };
  return (line) => {
    if (waiting === '') setImmediate(flush);
    waiting += `${line}\n`;
  };
}

/** Starts the program and follows the table above. Called once, by `main.ts`. Resolves when the program has started. */
export async function runProcess(options: ProcessOptions): Promise<void> {
  const { name, errorFields, stopWithinMs = defaultStopWithinMs } = options;
  for (const stream of [process.stdout, process.stderr]) ignoreErrors(stream);
  let running: Running | null = null;
  let deadline: NodeJS.Timeout | null = null;
  let isStopping = false;
  let exceptions = 0;

  function logSafely(level: keyof ProcessLog, sentence: string, fields: Record<string, unknown> = {}): void {
    try {
      if (running) running.log[level](sentence, fields);
      else if (level !== 'info') process.stderr.write(`${sentence} ${String(fields['stack'] ?? fields['error'] ?? '')}\n`);
    } catch {
      // A failure to log must not prevent the end of the process.
    }
  }

  /** Called before the first log line of a stop, so that the process ends even if the stop fails. */
  function armDeadline(): void {
    deadline ??= setTimeout(() => {
      logSafely('error', `The ${name} did not stop within ${stopWithinMs / 1000} s; it ends by force.`);
      exit(1);
    }, stopWithinMs);
  }

  function stop(why: string, code: number): void {
    if (isStopping) return;
    isStopping = true;
    armDeadline();
    if (!running) return exit(code);
    logSafely('info', `The ${name} stops.`, { why });
    const { close } = running;
    void (async () => close())().then(
      (unfinished) => {
        if (unfinished.length > 0)
          logSafely('error', `The ${name} did not stop in order.`, { unfinished: unfinished.join(', ') });
        exit(unfinished.length > 0 ? 1 : code);
      },
      (error: unknown) => {
        logSafely('error', `The ${name} did not stop in order.`, errorFields(error));
        exit(1);
      },
    );
  }

  process.on('unhandledRejection', (error) => {
    logSafely('error', 'Unhandled promise rejection.', errorFields(error));
    running?.noteTrouble?.(error);
  });
  process.on('uncaughtException', (error) => {
    exceptions += 1;
    armDeadline();
    if (exceptions > maxExceptions) return exit(1);
    logSafely('error', 'Uncaught exception; the process stops.', errorFields(error));
    stop('uncaught exception', 1);
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop(signal, 0));
  if (process.send) {
    process.on('disconnect', () => stop('The parent process is gone.', 0));
    // It may have died before this listener was there.
    if (!process.connected) stop('The parent process is gone.', 0);
  }
  // Timers and sockets of a program that is starting need not keep a process alive.
  const awake = setInterval(() => undefined, 1_000);
  try {
    running = await options.start();
  } catch (error) {
    armDeadline();
    const sentence = options.explain(error);
    process.stderr.write(`${sentence ?? `The ${name} cannot start: ${String(errorFields(error)['stack'] ?? error)}`}\n`);
    exit(1);
  } finally {
    clearInterval(awake);
  }
}

/**
 * Ends the process once its last log lines are written. `process.exit` waits for Node's thread pool, and a system call there may never return; then
 * the process kills itself. `getActiveResourcesInfo` names such calls (`FSReqCallback`, `GetAddrInfoReqWrap` …).
 */
function exit(code: number): void {
  const until = performance.now() + lastWordsMs;
  const look = (): void => {
    const isInSystemCall = process.getActiveResourcesInfo().some((resource) => /^(FSReq|GetAddrInfo|GetNameInfo)/.test(resource));
    const hasLines = process.stdout.writableLength > 0 || process.stderr.writableLength > 0;
    const isLate = performance.now() > until;
    if (isInSystemCall && isLate) process.kill(process.pid, 'SIGKILL');
    if (!isInSystemCall && (!hasLines || isLate)) process.exit(code);
    setTimeout(look, 20);
  };
  look();
}

export { createLifecycle };
export { createLineLimit, limitLines, omittedSentence } from './log-limit.js';
export type { Lifecycle } from './lifecycle.js';
