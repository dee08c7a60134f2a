import { randomUUID } from 'node:crypto';
import { createClient, type RedisClientType } from '@redis/client';
import type { Clock } from './clock.js';
import { errorFields, type Log } from './log.js';
import { bucketMs } from './window-state.js';
import { createLocalWindows, type Counted, type Windows } from './windows.js';

/**
 * One window in Redis: a hash of bucket times to numbers of requests, with the rules of window-state.ts. It is one script, so that of fifty
 * concurrent callers exactly as many pass as there is room for. The time is that of Redis, so that backends whose clocks differ agree.
 * KEYS: the window, and the id of its last reset. ARGV: window length and bucket length in milliseconds, limit, and 1 to count or 0 to look.
 * Returns whether there was room, the total, when the oldest bucket leaves, how long to wait for room, and the id of the last reset.
 */
const countScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, length, limit, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local buckets, total, early = {}, 0, 0
local flat = redis.call('HGETALL', KEYS[1])
for index = 1, #flat, 2 do
  local at, requests = tonumber(flat[index]), tonumber(flat[index + 1])
  if at > now then
    early = early + requests
    redis.call('HDEL', KEYS[1], flat[index])
  elseif at <= now - window or requests <= 0 then
    redis.call('HDEL', KEYS[1], flat[index])
  else
    buckets[#buckets + 1] = { at, requests }
    total = total + requests
  end
end
if early > 0 then
  redis.call('HINCRBY', KEYS[1], string.format('%.0f', now), early)
  buckets[#buckets + 1] = { now, early }
  total = total + early
end
table.sort(buckets, function(a, b) return a[1] < b[1] end)
local allowed = 0
if total < limit then
  allowed = 1
  if count == 1 then
    local last = buckets[#buckets]
    if last and last[1] ~= now and math.floor(last[1] / length) == math.floor(now / length) then
      redis.call('HDEL', KEYS[1], string.format('%.0f', last[1]))
      redis.call('HINCRBY', KEYS[1], string.format('%.0f', now), last[2] + 1)
      last[1] = now
      last[2] = last[2] + 1
    else
      redis.call('HINCRBY', KEYS[1], string.format('%.0f', now), 1)
      buckets[#buckets + 1] = { now, 1 }
    end
    total = total + 1
  end
end
if total > 0 then redis.call('PEXPIRE', KEYS[1], window + 1000) end
local oldest = window
if buckets[1] then oldest = buckets[1][1] + window - now end
local wait, left = 0, total
for _, bucket in ipairs(buckets) do
  if left < limit then break end
  left = left - bucket[2]
  wait = bucket[1] + window - now
end
if left >= limit then wait = window end
return { allowed, total, oldest, wait, redis.call('GET', KEYS[2]) or '' }
`;

/** Refunds one request of the latest bucket. KEYS: the window. */
const refundScript = `
local flat = redis.call('HGETALL', KEYS[1])
local latest, field = -1, nil
for index = 1, #flat, 2 do
  local at = tonumber(flat[index])
  if at > latest then
    latest = at
    field = flat[index]
  end
end
if field and redis.call('HINCRBY', KEYS[1], field, -1) <= 0 then redis.call('HDEL', KEYS[1], field) end
return 1
`;

/**
 * Deletes what was counted, and stores the id of this reset for as long as another backend may count what came before it.
 * KEYS: the window, and the id of its last reset. ARGV: the id, and the window length in milliseconds.
 */
const forgetScript = `
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
`;

/** A limit must not be slower than the request that it guards. */
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
/** Names for which a reset is remembered, on each side. Above it the oldest is dropped. */
const maxResets = 10_000;

/** Redis' answer for one more request, and the id of the window's last reset; empty without a recent one. */
interface Answer {
  counted: Counted;
  reset: string;
}

/**
 * Windows that several backends share through Redis. Each backend also counts its own requests: its count never exceeds the total, so it may
 * refuse although Redis has lost its data, and it continues while Redis is lost. Redis never holds the only copy of anything that must survive.
 * Only a reset by another backend clears this backend's own count: Redis holds the id of each window's last reset.
 *
 * | Redis | what happens |
 * | --- | --- |
 * | refuses or drops the connection | lost at once; the client reconnects |
 * | accepts but does not answer in time, or answers with errors | lost after three calls in a row, or when it is more than one call in ten; later requests do not wait. A probe per second detects when it is back |
 * | answers the probe in time | shared again; where it was lost several times within a minute, after several such answers in a row |
 *
 * Each change is logged once.
 */
export function createSharedWindows({ url, clock, log }: { url: string; clock: Pick<Clock, 'monotonic'>; log: Log }): Windows {
  const local = createLocalWindows(clock);
  let isLost = true;
  /** Whether the current state was logged. */
  let wasReported = false;
  let score = 0;
  /** Good probes in a row, the number that is needed, and when Redis was last found. */
  let goodProbes = 0;
  let neededProbes = 1;
  let foundAt = -Infinity;
  let isClosed = false;
  let client = connect();
  let probe = { since: 0, isRunning: false };
  /** The id of the last reset that this backend's own count has followed, by name. */
  const followedResets = new Map<string, string>();
  /** Resets that did not reach Redis: names and window lengths. */
  const unsentResets = new Map<string, number>();
  const lookups = new Map<string, Promise<Answer | null>>();

  function connect(): RedisClientType {
    const made: RedisClientType = createClient({
      url,
      disableOfflineQueue: true,
      socket: { connectTimeout: 2_000, reconnectStrategy: (tries) => Math.min(5_000, 100 * 2 ** Math.min(tries, 6)) },
    });
    made.on('error', (error: unknown) => {
      if (made === client) lose(error);
    });
    made.on('ready', () => void runProbe());
    // Redis may be absent at the start: the client keeps trying and reports through its events.
    made.connect().catch(() => undefined);
    return made;
  }

  function lose(error: unknown): void {
    goodProbes = 0;
    if (!isLost || !wasReported)
      log.warn('Redis does not answer; each backend counts its own limits until it does.', errorFields(error));
    if (!isLost) neededProbes = clock.monotonic() - foundAt < flapMs ? Math.min(maxProbes, neededProbes * 2) : 1;
    wasReported = true;
    isLost = true;
  }

  function find(): void {
    if (isLost && (goodProbes += 1) < neededProbes) return;
    score = 0;
    foundAt = isLost ? clock.monotonic() : foundAt;
    if (isLost) log.info('Redis answers; limits are shared between the backends.');
    isLost = false;
    wasReported = true;
    const unsent = [...unsentResets];
    unsentResets.clear();
    for (const [name, windowMs] of unsent) void sendReset(name, windowMs);
  }

  const run = (script: string, name: string, values: readonly (number | string)[]): Promise<unknown> =>
    client.eval(script, { keys: [`chasqui:window:${name}`, `chasqui:window-reset:${name}`], arguments: values.map(String) });

  /** A write, because a replica or a full Redis answers pings and refuses every count. Never rejects, and never runs twice at once. */
  async function runProbe(): Promise<void> {
    if (isClosed || probe.isRunning || !client.isReady) return;
    const mine = { since: clock.monotonic(), isRunning: true };
    probe = mine;
    try {
      const answer = run(countScript, 'probe', [1_000, 100, 1_000_000, 1]);
      const late = await within(answer, answerTimeoutMs).then(
        () => null,
        (error: unknown) => error,
      );
      await answer;
      if (mine !== probe) return;
      if (late === null) find();
      else lose(late);
    } catch (error) {
      if (mine === probe) lose(error);
    } finally {
      mine.isRunning = false;
    }
  }

  const timer = setInterval(() => {
    if (!isLost || isClosed) return;
    if (probe.isRunning && clock.monotonic() - probe.since > abandonConnectionMs) {
      const old = client;
      probe = { since: 0, isRunning: false };
      client = connect();
      if (old.isOpen) old.destroy();
    } else void runProbe();
  }, probeEveryMs);
  timer.unref();

  /** Returns null without an answer from Redis in time; then the backend's own count decides. */
  async function call(script: string, name: string, values: readonly (number | string)[]): Promise<unknown> {
    if (isLost || !client.isReady) return null;
    try {
      const answer = await within(run(script, name, values), answerTimeoutMs);
      score = Math.max(0, score - scorePerAnswer);
      return answer;
    } catch (error) {
      score += 1;
      if (score >= lostAtScore) lose(error);
      return null;
    }
  }

  async function look(name: string, limit: number, windowMs: number, count: 0 | 1): Promise<Answer | null> {
    const answer = await call(countScript, name, [windowMs, bucketMs(windowMs), limit, count]);
    if (!Array.isArray(answer)) return null;
    const [allowed, total, untilOldestLeaves, waitMs] = answer.slice(0, 4).map(Number) as [number, number, number, number];
    const resetMs = Math.max(1, waitMs > 0 ? waitMs : untilOldestLeaves);
    return {
      counted: { isAllowed: allowed === 1, limit, remaining: Math.max(0, limit - total), resetMs },
      reset: typeof answer[4] === 'string' ? answer[4] : '',
    };
  }

  /** One lookup at a time for each name: a flood of refused requests must not become a flood of calls to Redis. */
  function lookOnce(name: string, limit: number, windowMs: number): Promise<Answer | null> {
    const running = lookups.get(name);
    if (running) return running;
    const lookup = look(name, limit, windowMs, 0).finally(() => lookups.delete(name));
    lookups.set(name, lookup);
    return lookup;
  }

  /** Forgets this backend's own count when the window was reset by another one since. */
  async function followReset(name: string, windowMs: number, reset: string): Promise<void> {
    if (reset === '' || followedResets.get(name) === reset) return;
    remember(followedResets, name, reset);
    await local.forget(name, windowMs);
  }

  async function sendReset(name: string, windowMs: number): Promise<void> {
    const reset = randomUUID();
    remember(followedResets, name, reset);
    if ((await call(forgetScript, name, [reset, windowMs])) === null) remember(unsentResets, name, windowMs);
  }

  return {
    async count(name, limit, windowMs) {
      let followed = followedResets.get(name);
      let own = await local.count(name, limit, windowMs);
      if (!own.isAllowed) {
        const seen = await lookOnce(name, limit, windowMs);
        if (seen) await followReset(name, windowMs, seen.reset);
        // Also when another request has followed the reset meanwhile.
        followed = followedResets.get(name);
        own = await local.count(name, limit, windowMs);
        if (!own.isAllowed) return own;
      }
      const shared = await look(name, limit, windowMs, 1);
      if (!shared) return own;
      await followReset(name, windowMs, shared.reset);
      // A reset that was followed meanwhile has removed this request from the own count.
      if (followedResets.get(name) !== followed) await local.count(name, limit, windowMs);
      if (!shared.counted.isAllowed) await local.refund(name);
      return shared.counted;
    },
    peek: async (name, limit, windowMs) => (await look(name, limit, windowMs, 0))?.counted ?? local.peek(name, limit, windowMs),
    async refund(name) {
      await local.refund(name);
      await call(refundScript, name, []);
    },
    async forget(name, windowMs) {
      await local.forget(name, windowMs);
      await sendReset(name, windowMs);
    },
    isShared: () => !isLost && client.isReady,
    async close() {
      isClosed = true;
      clearInterval(timer);
      if (client.isOpen) client.destroy();
      await local.close();
    },
  };
}

/** Sets a value as the newest, and drops the oldest one above `maxResets`. */
function remember<T>(map: Map<string, T>, name: string, value: T): void {
  map.delete(name);
  map.set(name, value);
  if (map.size > maxResets) map.delete(map.keys().next().value!);
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
