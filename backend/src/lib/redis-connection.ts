import { createClient, type RedisClientType } from '@redis/client';
import type { Clock } from './clock.js';
import { errorFields, type Log } from './log.js';

/**
 * A connection to Redis that never delays its caller for long. Redis is optional: without an answer the caller continues without it.
 *
 * | Redis | what happens |
 * | --- | --- |
 * | refuses or drops the connection | lost at once; the client reconnects |
 * | accepts but does not answer in time, or answers with errors | lost after three calls in a row, or when it is more than one call in ten; later calls do not wait. A probe per second detects when it is back |
 * | answers the probe in time | found again; where it was lost several times within a minute, after several such answers in a row |
 *
 * Each change is logged once.
 */
export interface RedisConnection {
  /** Runs a script. Resolves to null without an answer in time, and at once while Redis is lost. Never rejects. */
  call(script: RedisScript): Promise<unknown>;
  isUp(): boolean;
  close(): void;
}

export interface RedisScript {
  source: string;
  keys: string[];
  values: readonly (number | string)[];
}

export interface RedisConnectionOptions {
  url: string;
  clock: Pick<Clock, 'monotonic'>;
  log: Log;
  /** Must write, because a replica or a full Redis answers pings and refuses every write. */
  probe: RedisScript;
  /** Called when Redis answers, after the start and after each loss. */
  onFound: () => void;
}

/** A call must not be slower than the request that waits for it. */
const answerTimeoutMs = 250;
/**
 * A call without an answer in time adds one to a score, and an answer subtracts a tenth. From this score on Redis counts as lost, and only
 * the probe calls it: three failures in a row, or more than one in ten over time, since each of them delayed a request.
 */
const lostAtScore = 3;
const scorePerAnswer = 0.1;
/** When Redis is lost again within `flapMs`, it needs twice as many good probes in a row to count as found, up to `maxProbes`. */
const flapMs = 60_000;
const maxProbes = 32;
const probeEveryMs = 1_000;
/** A connection on which a probe got no answer for this long is replaced: the network may have dropped it. */
const abandonConnectionMs = 10_000;

interface Context extends RedisConnectionOptions {
  client: RedisClientType;
  isClosed: boolean;
  isLost: boolean;
  /** Whether the current state was logged. */
  wasReported: boolean;
  score: number;
  /** Good probes in a row, the number that is needed, and when Redis was last found. */
  goodProbes: number;
  neededProbes: number;
  foundAt: number;
  /** The probe that runs, or the last one. */
  running: { since: number; isRunning: boolean };
}

export function createRedisConnection(options: RedisConnectionOptions): RedisConnection {
  const context: Context = {
    ...options,
    client: createClientOf(options.url),
    isClosed: false,
    isLost: true,
    wasReported: false,
    score: 0,
    goodProbes: 0,
    neededProbes: 1,
    foundAt: -Infinity,
    running: { since: 0, isRunning: false },
  };
  connect(context);
  const timer = setInterval(() => watch(context), probeEveryMs).unref();
  return {
    call: (script) => call(context, script),
    isUp: () => !context.isLost && context.client.isReady,
    close() {
      context.isClosed = true;
      clearInterval(timer);
      if (context.client.isOpen) context.client.destroy();
    },
  };
}

const createClientOf = (url: string): RedisClientType =>
  createClient({
    url,
    disableOfflineQueue: true,
    socket: { connectTimeout: 2_000, reconnectStrategy: (tries) => Math.min(5_000, 100 * 2 ** Math.min(tries, 6)) },
  });

function connect(context: Context): void {
  const { client } = context;
  client.on('error', (error: unknown) => {
    if (client === context.client) lose(context, error);
  });
  client.on('ready', () => void runProbe(context));
  // Redis may be absent at the start: the client keeps trying and reports through its events.
  client.connect().catch(() => undefined);
}

async function call(context: Context, script: RedisScript): Promise<unknown> {
  if (context.isLost || !context.client.isReady) return null;
  try {
    const answer = await within(evaluate(context, script), answerTimeoutMs);
    context.score = Math.max(0, context.score - scorePerAnswer);
    return answer;
  } catch (error) {
    context.score += 1;
    if (context.score >= lostAtScore) lose(context, error);
    return null;
  }
}

const evaluate = ({ client }: Context, { source, keys, values }: RedisScript): Promise<unknown> =>
  client.eval(source, { keys, arguments: values.map(String) });

function lose(context: Context, error: unknown): void {
  const { log, clock } = context;
  context.goodProbes = 0;
  if (!context.isLost || !context.wasReported)
    log.warn('Redis does not answer; each backend counts its own limits until it does.', errorFields(error));
  if (!context.isLost) {
    const isFlapping = clock.monotonic() - context.foundAt < flapMs;
    context.neededProbes = isFlapping ? Math.min(maxProbes, context.neededProbes * 2) : 1;
  }
  context.wasReported = true;
  context.isLost = true;
}

function find(context: Context): void {
  const { log, clock, onFound } = context;
  if (context.isLost && (context.goodProbes += 1) < context.neededProbes) return;
  context.score = 0;
  context.foundAt = context.isLost ? clock.monotonic() : context.foundAt;
  if (context.isLost) log.info('Redis answers; limits are shared between the backends.');
  context.isLost = false;
  context.wasReported = true;
  onFound();
}

/** Runs every second: probes a lost Redis, and replaces a connection whose probe has no answer. */
function watch(context: Context): void {
  if (!context.isLost || context.isClosed) return;
  if (context.running.isRunning && context.clock.monotonic() - context.running.since > abandonConnectionMs) {
    const old = context.client;
    context.running = { since: 0, isRunning: false };
    context.client = createClientOf(context.url);
    connect(context);
    if (old.isOpen) old.destroy();
  } else void runProbe(context);
}

/** Never rejects, and never runs twice at once. */
async function runProbe(context: Context): Promise<void> {
  if (context.isClosed || context.running.isRunning || !context.client.isReady) return;
  const own = { since: context.clock.monotonic(), isRunning: true };
  context.running = own;
  try {
    const answer = evaluate(context, context.probe);
    const late = await within(answer, answerTimeoutMs).then(
      () => null,
      (error: unknown) => error,
    );
    await answer;
    if (own !== context.running) return;
    if (late === null) find(context);
    else lose(context, late);
  } catch (error) {
    if (own === context.running) lose(context, error);
  } finally {
    own.isRunning = false;
  }
}

/** Resolves like the promise, or rejects after `ms`. A later result or rejection is ignored. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const refuse = (): void => reject(new Error(`No answer within ${ms} ms.`));
    // Two more ticks of the event loop: when this process itself was late, the answer may have arrived and not be read yet.
    timer = setTimeout(() => setImmediate(() => setImmediate(refuse)), ms);
    timer.unref();
  });
  promise.catch(() => undefined);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
