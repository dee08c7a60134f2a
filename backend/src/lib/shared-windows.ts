import { randomUUID } from 'node:crypto';
import type { Clock } from './clock.js';
import type { Log } from './log.js';
import { createRedisConnection, type RedisConnection, type RedisScript } from './redis-connection.js';
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

/** The number of names whose reset is remembered, on each side. Above it the oldest is dropped. */
const maxResets = 10_000;

/** Redis' answer for one more request, and the id of the window's last reset; empty without a recent one. */
interface Answer {
  counted: Counted;
  reset: string;
}

interface Context {
  redis: RedisConnection;
  /** What this backend has counted itself. */
  local: Windows;
  /** The id of the last reset that this backend's own count has followed, by name. */
  followedResets: Map<string, string>;
  /** Resets that did not reach Redis: names and window lengths. */
  unsentResets: Map<string, number>;
  /** Running lookups, by name. */
  lookups: Map<string, Promise<Answer | null>>;
}

/**
 * Windows that several backends share through Redis. Each backend also counts its own requests: its count never exceeds the total, so it may
 * refuse although Redis has lost its data, and it continues while Redis is lost (redis-connection.ts). Redis never has the only copy of anything
 * that must survive. Only a reset by another backend clears this backend's own count: Redis stores the id of each window's last reset.
 */
export function createSharedWindows({ url, clock, log }: { url: string; clock: Pick<Clock, 'monotonic'>; log: Log }): Windows {
  const context: Context = {
    redis: createRedisConnection({
      url,
      clock,
      log,
      probe: scriptOn('probe', countScript, [1_000, 100, 1_000_000, 1]),
      onFound: () => sendUnsentResets(context),
    }),
    local: createLocalWindows(clock),
    followedResets: new Map(),
    unsentResets: new Map(),
    lookups: new Map(),
  };
  const { redis, local } = context;
  return {
    count: (name, limit, windowMs) => count(context, name, limit, windowMs),
    peek: async (name, limit, windowMs) =>
      (await look(context, name, limit, windowMs, 0))?.counted ?? local.peek(name, limit, windowMs),
    async refund(name) {
      await local.refund(name);
      await redis.call(scriptOn(name, refundScript, []));
    },
    async forget(name, windowMs) {
      await local.forget(name, windowMs);
      await sendReset(context, name, windowMs);
    },
    isShared: redis.isUp,
    async close() {
      redis.close();
      await local.close();
    },
  };
}

const scriptOn = (name: string, source: string, values: readonly (number | string)[]): RedisScript => ({
  source,
  keys: [`chasqui:window:${name}`, `chasqui:window-reset:${name}`],
  values,
});

async function count(context: Context, name: string, limit: number, windowMs: number): Promise<Counted> {
  const { local, followedResets } = context;
  let followed = followedResets.get(name);
  let own = await local.count(name, limit, windowMs);
  if (!own.isAllowed) {
    const seen = await lookOnce(context, name, limit, windowMs);
    if (seen) await followReset(context, name, windowMs, seen.reset);
    // Also if another request has followed the reset in the meantime.
    followed = followedResets.get(name);
    own = await local.count(name, limit, windowMs);
    if (!own.isAllowed) return own;
  }
  const shared = await look(context, name, limit, windowMs, 1);
  if (!shared) return own;
  await followReset(context, name, windowMs, shared.reset);
  // A reset that was followed in the meantime has removed this request from the own count.
  if (followedResets.get(name) !== followed) await local.count(name, limit, windowMs);
  if (!shared.counted.isAllowed) await local.refund(name);
  return shared.counted;
}

/** Resolves to null without an answer from Redis in time; then the backend's own count decides. */
async function look({ redis }: Context, name: string, limit: number, windowMs: number, counts: 0 | 1): Promise<Answer | null> {
  const answer = await redis.call(scriptOn(name, countScript, [windowMs, bucketMs(windowMs), limit, counts]));
  if (!Array.isArray(answer)) return null;
  const [allowed, total, untilOldestLeaves, waitMs] = answer.slice(0, 4).map(Number) as [number, number, number, number];
  const resetMs = Math.max(1, waitMs > 0 ? waitMs : untilOldestLeaves);
  return {
    counted: { isAllowed: allowed === 1, limit, remaining: Math.max(0, limit - total), resetMs },
    reset: typeof answer[4] === 'string' ? answer[4] : '',
  };
}

/** One lookup at a time for each name: a flood of refused requests must not become a flood of calls to Redis. */
function lookOnce(context: Context, name: string, limit: number, windowMs: number): Promise<Answer | null> {
  const { lookups } = context;
  const running = lookups.get(name);
  if (running) return running;
  const lookup = look(context, name, limit, windowMs, 0).finally(() => lookups.delete(name));
  lookups.set(name, lookup);
  return lookup;
}

/** Forgets this backend's own count if another backend has reset the window since. */
async function followReset({ local, followedResets }: Context, name: string, windowMs: number, reset: string): Promise<void> {
  if (reset === '' || followedResets.get(name) === reset) return;
  remember(followedResets, name, reset);
  await local.forget(name, windowMs);
}

async function sendReset({ redis, followedResets, unsentResets }: Context, name: string, windowMs: number): Promise<void> {
  const reset = randomUUID();
  remember(followedResets, name, reset);
  if ((await redis.call(scriptOn(name, forgetScript, [reset, windowMs]))) === null) remember(unsentResets, name, windowMs);
}

function sendUnsentResets(context: Context): void {
  const unsent = [...context.unsentResets];
  context.unsentResets.clear();
  for (const [name, windowMs] of unsent) void sendReset(context, name, windowMs);
}

/** Sets a value as the newest, and drops the oldest one above `maxResets`. */
function remember<T>(map: Map<string, T>, name: string, value: T): void {
  map.delete(name);
  map.set(name, value);
  if (map.size > maxResets) map.delete(map.keys().next().value!);
}
