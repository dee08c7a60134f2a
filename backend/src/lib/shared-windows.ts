import { randomUUID } from 'node:crypto';
import { createClient, type RedisClientType } from '@redis/client';
import type { Clock } from './clock.js';
import { errorFields, type Log } from './log.js';
import { bucketMs } from './window-state.js';
import { createLocalWindows, type Taken, type Windows } from './windows.js';

/**
 * One window in Redis: a hash of bucket times to numbers of requests, with the rules of window-state.ts. It is one script, so that of fifty
 * callers at once exactly as many pass as there is room for. The time is that of Redis, so that backends whose clocks differ agree.
 * KEYS: the window, and the id of its last reset. ARGV: window length and bucket length in milliseconds, limit, and 1 to count or 0 to look.
 * Returns whether there was room, the total, when the oldest bucket leaves, how long to wait for room, and the id of the last reset.
 */
const takeScript = `
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

/** Takes one request back from the latest bucket. KEYS: the window. */
const giveBackScript = `
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

/** A limit must not be slower than what it guards. */
const answerWithinMs = 250;
/**
 * A call without an answer in time adds one to a score, and one with an answer takes off a tenth. From this score on Redis counts as lost, and
 * only the probe asks it: three failures in a row, or more than one in ten over a time, since each of them delayed a request.
 */
const lostAtScore = 3;
const answerTakesOff = 0.1;
/** Redis that is lost again within `flapMs` needs twice as many good probes in a row to be found, up to `mostProbes`. */
const flapMs = 60_000;
const mostProbes = 32;
const probeEveryMs = 1_000;
/** A connection on which a probe got no answer for this long is given up and made again: its other end may have forgotten it. */
const giveUpConnectionMs = 10_000;
/** Names for which a reset is remembered, on each side. Above it the oldest is dropped. */
const maxResets = 10_000;

/** What Redis says about one more request, and the id of the window's last reset; empty when there was none lately. */
interface Answer {
  taken: Taken;
  reset: string;
}

/**
 * Windows that several backends share through Redis. Each backend also counts for itself: what it alone has let through is never more than
 * the whole, so its own count may refuse although Redis has lost its data, and goes on while Redis is lost. Nothing true is stored in Redis
 * only. A reset by another backend is the one thing that clears this backend's own count: Redis holds the id of each window's last reset.
 *
 * | Redis | what happens |
 * | --- | --- |
 * | refuses or drops the connection | lost at once; the client reconnects |
 * | accepts but does not answer in time, or answers with errors | lost after three calls in a row, or when it is more than one call in ten; later requests do not wait. A probe a second finds out when it is back |
 * | answers the probe in time | shared again; where it was lost several times within a minute, after several such answers in a row |
 *
 * Each change is logged once.
 */
export function createSharedWindows({ url, clock, log }: { url: string; clock: Pick<Clock, 'monotonic'>; log: Log }): Windows {
  const local = createLocalWindows(clock);
  let isLost = true;
  /** Whether its state was logged. */
  let wasTold = false;
  let score = 0;
  /** Good probes in a row, how many are needed, and when Redis was found last. */
  let good = 0;
  let needed = 1;
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
    // Also when Redis is absent at the start: the client goes on trying and reports by its events.
    made.connect().catch(() => undefined);
    return made;
  }

  function lose(error: unknown): void {
    good = 0;
    if (!isLost || !wasTold)
      log.warn('Redis does not answer; each backend counts its own limits until it does.', errorFields(error));
    if (!isLost) needed = clock.monotonic() - foundAt < flapMs ? Math.min(mostProbes, needed * 2) : 1;
    wasTold = true;
    isLost = true;
  }

  function find(): void {
    if (isLost && (good += 1) < needed) return;
    score = 0;
    foundAt = isLost ? clock.monotonic() : foundAt;
    if (isLost) log.info('Redis answers; limits are shared between the backends.');
    isLost = false;
    wasTold = true;
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
      const answer = run(takeScript, 'probe', [1_000, 100, 1_000_000, 1]);
      const late = await within(answer, answerWithinMs).then(
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
    if (probe.isRunning && clock.monotonic() - probe.since > giveUpConnectionMs) {
      const old = client;
      probe = { since: 0, isRunning: false };
      client = connect();
      if (old.isOpen) old.destroy();
    } else void runProbe();
  }, probeEveryMs);
  timer.unref();

  /** Null when Redis has no answer in time: then the backend's own count decides. */
  async function ask(script: string, name: string, values: readonly (number | string)[]): Promise<unknown> {
    if (isLost || !client.isReady) return null;
    try {
      const answer = await within(run(script, name, values), answerWithinMs);
      score = Math.max(0, score - answerTakesOff);
      return answer;
    } catch (error) {
      score += 1;
      if (score >= lostAtScore) lose(error);
      return null;
    }
  }

  async function look(name: string, limit: number, windowMs: number, count: 0 | 1): Promise<Answer | null> {
    const answer = await ask(takeScript, name, [windowMs, bucketMs(windowMs), limit, count]);
    if (!Array.isArray(answer)) return null;
    const [allowed, total, untilOldestLeaves, waitMs] = answer.slice(0, 4).map(Number) as [number, number, number, number];
    const resetMs = Math.max(1, waitMs > 0 ? waitMs : untilOldestLeaves);
    return {
      taken: { isAllowed: allowed === 1, limit, remaining: Math.max(0, limit - total), resetMs },
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
    if ((await ask(forgetScript, name, [reset, windowMs])) === null) remember(unsentResets, name, windowMs);
  }

  return {
    async take(name, limit, windowMs) {
      let followed = followedResets.get(name);
      let own = await local.take(name, limit, windowMs);
      if (!own.isAllowed) {
        const seen = await lookOnce(name, limit, windowMs);
        if (seen) await followReset(name, windowMs, seen.reset);
        // Also when another request has followed the reset meanwhile.
        followed = followedResets.get(name);
        own = await local.take(name, limit, windowMs);
        if (!own.isAllowed) return own;
      }
      const whole = await look(name, limit, windowMs, 1);
      if (!whole) return own;
      await followReset(name, windowMs, whole.reset);
      // A reset that this request or another one has followed meanwhile took this request out of the own count.
      if (followedResets.get(name) !== followed) await local.take(name, limit, windowMs);
      if (!whole.taken.isAllowed) await local.giveBack(name);
      return whole.taken;
    },
    peek: async (name, limit, windowMs) => (await look(name, limit, windowMs, 0))?.taken ?? local.peek(name, limit, windowMs),
    async giveBack(name) {
      await local.giveBack(name);
      await ask(giveBackScript, name, []);
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

/** The promise, or a rejection after so long. What comes later is ignored, its rejection included. */
async function within<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const refuse = (): void => reject(new Error(`No answer within ${ms} ms.`));
    // Two more turns of the event loop: when this process was late itself, the answer may be here and not be read yet.
    timer = setTimeout(() => setImmediate(() => setImmediate(refuse)), ms);
    timer.unref();
  });
  promise.catch(() => undefined);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
