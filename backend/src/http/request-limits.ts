import { AppError } from '@chasqui/shared';
import type { Request, Response } from 'express';
import type { Authenticate, Caller, KeyLimit, LimitScope } from '../accounts/caller.js';
import type { KeyUsage } from '../accounts/key-usage.js';
import { countedAddress } from '../lib/client-address.js';
import type { Windows, Counted } from '../lib/windows.js';

/**
 * Limits requests in layers: the address, the key's sliding window, the session's. 0 means no limit. The headers of a reply show the
 * tightest limit; a refusal names its limit and the time after which to retry.
 *
 * Requests without a valid credential are counted by address, and a refusal does not reveal whether the credential was right. A request with a
 * valid one is never refused because of others behind the same address: it has a separate, higher limit.
 */
export interface RequestLimits {
  /** Wraps authentication with the limits of the address and of the key. Throws `RATE_LIMITED`. */
  around(authenticate: Authenticate): Authenticate;
  /** Returns the state of a key's window. Null: the key has no limit. */
  left(key: KeyLimit & { id: string }): Promise<Counted | null>;
  /** Returns the limit that applies to a key: its own, or the installation's default. */
  limitOf(key: KeyLimit): { limit: number; windowMs: number };
}

export interface LimitFigures {
  /** The limit of an address without a valid credential; with one it is `factor` times as high. */
  address: { limit: number; windowMs: number; factor: number };
  /** The limit of a key that sets none itself. */
  key: { limit: number; windowMs: number };
}

interface Context {
  windows: Windows;
  figures: LimitFigures;
  /** Called for each request with a key: when it begins, and with the status of its reply. */
  usage: Pick<KeyUsage, 'begin' | 'note'>;
}

const sentences: Record<LimitScope, string> = {
  ip: 'Too many requests from this address.',
  key: 'Too many requests with this key.',
  session_api: 'Too many requests for this session.',
  session_send: 'Too many sends through this session. Send with async to have them queued and paced.',
};

export function createRequestLimits(windows: Windows, figures: LimitFigures, usage: Context['usage']): RequestLimits {
  const context: Context = { windows, figures, usage };
  return {
    around: (authenticate) => limited(context, authenticate),
    left(key) {
      const { limit, windowMs } = limitOf(figures, key);
      return limit === 0 ? Promise.resolve(null) : windows.peek(`key:${key.id}`, limit, windowMs);
    },
    limitOf: (key) => limitOf(figures, key),
  };
}

function limited(context: Context, authenticate: Authenticate): Authenticate {
  const { limit, windowMs, factor } = context.figures.address;
  return async (route, req, res) => {
    const chargeAddress = (): Promise<void> => charge(context, res, 'ip', `ip:${addressOf(req)}`, limit, windowMs);
    if (route.auth === 'svc') return authenticate(route, req, res);
    const caller = await authenticate(route, req, res).catch(async (error: unknown) => {
      // An unavailable database is not counted against the caller.
      if (error instanceof AppError && error.status < 500) await chargeAddress();
      throw error;
    });
    if (route.auth === 'pub') await chargeAddress();
    else {
      await charge(context, res, 'ip', `ip+:${countedAddress(caller.ip ?? 'unknown')}`, limit * factor, windowMs);
      await chargeKey(context, caller, res);
    }
    caller.charge = (scope, name, max, withinMs) => charge(context, res, scope, name, max, withinMs);
    return caller;
  };
}

const addressOf = (req: Request): string => countedAddress(req.ip ?? 'unknown');

async function chargeKey(context: Context, { credential, keyLimit }: Caller, res: Response): Promise<void> {
  if (!keyLimit || credential.id === null) return;
  const { usage, figures } = context;
  const keyId = credential.id;
  usage.begin(keyId);
  res.once('finish', () => usage.note(keyId, res.statusCode));
  const { limit, windowMs } = limitOf(figures, keyLimit);
  await charge(context, res, 'key', `key:${keyId}`, limit, windowMs);
}

const limitOf = ({ key }: LimitFigures, { rateLimit, rateWindowMs }: KeyLimit): { limit: number; windowMs: number } => ({
  limit: rateLimit ?? key.limit,
  windowMs: rateWindowMs ?? key.windowMs,
});

/** Counts a request and sets the headers of its reply. Throws `RATE_LIMITED` when the window is full. */
async function charge(
  { windows }: Context,
  res: Response,
  scope: LimitScope,
  name: string,
  limit: number,
  windowMs: number,
): Promise<void> {
  if (limit === 0) return;
  const counted = await windows.count(name, limit, windowMs);
  setLimitHeaders(res, counted);
  if (counted.isAllowed) return;
  const seconds = Math.ceil(counted.resetMs / 1000);
  throw new AppError(
    'RATE_LIMITED',
    { scope, limit, retryAfterSeconds: seconds },
    `${sentences[scope]} Wait ${seconds} s: at most ${limit} in ${Math.round(windowMs / 1000)} s.`,
  );
}

/** Sets the headers of the tightest limit that a request met, in both forms that clients read. */
function setLimitHeaders(res: Response, { limit, remaining, resetMs }: Counted): void {
  const shown = res.locals['tightest'] as number | undefined;
  if (shown !== undefined && shown <= remaining) return;
  res.locals['tightest'] = remaining;
  const seconds = Math.ceil(resetMs / 1000);
  res.set({
    'RateLimit-Limit': String(limit),
    'RateLimit-Remaining': String(remaining),
    'RateLimit-Reset': String(seconds),
    'X-RateLimit-Limit': String(limit),
    'X-RateLimit-Remaining': String(remaining),
    'X-RateLimit-Reset': String(Math.ceil((Date.now() + resetMs) / 1000)),
  });
}
