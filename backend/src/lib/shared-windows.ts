import { createClient, type RedisClientType } from '@redis/client';
import type { Clock } from './clock.js';
import { errorFields, type Log } from './log.js';
import { createLocalWindows, slotsOf, type Taken, type Windows } from './windows.js';

/**
 * One window in Redis, a hash of slot number to requests. All in one script, so that of fifty callers at once exactly as many pass as
 * there is room for; the time is Redis' own, so that backends whose clocks differ slide together. KEYS: the window. ARGV: slots, slot
 * length in ms, limit, 1 to count or 0 to look.
 */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slots, length, limit, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local slot = math.floor(now / length)
local total, oldest = 0, slot
local flat = redis.call('HGETALL', KEYS[1])
for at = 1, #flat, 2 do
  local its = tonumber(flat[at])
  if its < slot - slots then
    redis.call('HDEL', KEYS[1], flat[at])
  else
    total = total + tonumber(flat[at + 1])
    if its < oldest then oldest = its end
  end
end
local allowed = 0
if total < limit then
  allowed = 1
  if count == 1 then
    redis.call('HINCRBY', KEYS[1], slot, 1)
    redis.call('PEXPIRE', KEYS[1], (slots + 2) * length)
    total = total + 1
  end
end
return {allowed, total, (oldest + slots + 1) * length - now}
`;

/** A Redis that takes longer is counted as lost for this request: a limit must not be slower than what it guards. */
const answerWithinMs = 250;

/**
 * Windows that several backends share. Each also counts for itself: what this one alone has let through is never more than the whole, so
 * that its own count may refuse without asking, and goes on when Redis is lost. Nothing true is stored in Redis only (LIM-12).
 */
export function createSharedWindows({ url, clock, log }: { url: string; clock: Clock; log: Log }): Windows {
  const local = createLocalWindows(clock);
  let isLost = true;
  const client: RedisClientType = createClient({
    url,
    disableOfflineQueue: true,
    socket: { connectTimeout: 2_000, reconnectStrategy: (tries) => Math.min(5_000, 100 * 2 ** Math.min(tries, 6)) },
  });
  client.on('error', (error: unknown) => {
    if (!isLost) log.warn('Redis is lost; each backend counts its own limits until it is back.', errorFields(error));
    isLost = true;
  });
  client.on('ready', () => {
    if (isLost) log.info('Redis answers; limits are shared between the backends.');
    isLost = false;
  });
  // Without Redis at the start too: the client goes on trying, and says so by its events.
  client.connect().catch(() => undefined);

  async function ask(name: string, limit: number, windowMs: number, count: 0 | 1): Promise<Taken | null> {
    if (!client.isReady) return null;
    const { slots, slotMs } = slotsOf(windowMs);
    const asked = client.eval(script, {
      keys: [`chasqui:window:${name}`],
      arguments: [slots, slotMs, limit, count].map(String),
    });
    const answer = await Promise.race([asked, late()]).catch((error: unknown) => {
      if (!isLost) log.warn('Redis did not answer in time; this request was counted here alone.', errorFields(error));
      return null;
    });
    if (!Array.isArray(answer)) return null;
    const [allowed, total, resetMs] = answer.map(Number) as [number, number, number];
    return { isAllowed: allowed === 1, limit, remaining: Math.max(0, limit - total), resetMs: Math.max(1, resetMs) };
  }

  return {
    async take(name, limit, windowMs) {
      const own = await local.take(name, limit, windowMs);
      if (!own.isAllowed) return own;
      const whole = await ask(name, limit, windowMs, 1);
      if (whole && !whole.isAllowed) local.giveBack(name);
      return whole ?? own;
    },
    peek: async (name, limit, windowMs) => (await ask(name, limit, windowMs, 0)) ?? local.peek(name, limit, windowMs),
    isShared: () => client.isReady,
    async close() {
      if (client.isOpen) client.destroy();
      await local.close();
    },
  };
}

const late = (): Promise<never> =>
  new Promise((_, reject) =>
    setTimeout(() => reject(new Error(`No answer within ${answerWithinMs} ms.`)), answerWithinMs).unref(),
  );
