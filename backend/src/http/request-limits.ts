import { AppError, type AnyRoute } from '@chasqui/shared';
import type { Request, Response } from 'express';
import { countedAddress } from '../lib/client-address.js';
import type { Windows, Counted } from '../lib/windows.js';
import type { Caller, KeyLimit, LimitScope } from '../accounts/caller.js';

export interface LimitFigures {
  /** Of an address: without a valid credential, and `factor` times that with one. */
  address: { limit: number; windowMs: number; factor: number };
  /** Of a key that has none of its own. */
  key: { limit: number; windowMs: number };
}

const sentences: Record<LimitScope, string> = {
  ip: 'Too many requests from this address.',
  key: 'Too many requests with this key.',
  session_api: 'Too many requests for this session.',
  session_send: 'Too many sends through this session. Send with async to have them queued and paced.',
};

type Authenticate = (route: AnyRoute, req: Request, res: Response) => Promise<Caller>;

/**
 * Limits of requests, in their layers: the address, the key's sliding window, the session's. 0 is no limit. The tightest that a
 * request met is told in its headers; the one that refuses is named, with the time after which to come back.
 *
 * Who shows no valid credential is counted by address, and refused there without being told whether the credential was right. A valid
 * one is never refused for what its neighbours behind the same address did wrong: it has a higher count of its own.
 */
export function createRequestLimits(
  windows: Windows,
  figures: LimitFigures,
  /** Hears of each request with a key: that it began, and how it was answered. */
  usage: { begin: (keyId: string) => void; note: (keyId: string, status: number) => void },
) {
  async function charge(res: Response, scope: LimitScope, name: string, limit: number, windowMs: number): Promise<void> {
    if (limit === 0) return;
    const counted = await windows.count(name, limit, windowMs);
    tell(res, counted);
    if (counted.isAllowed) return;
    const seconds = Math.ceil(counted.resetMs / 1000);
    throw new AppError(
      'RATE_LIMITED',
      { scope, limit, retryAfterSeconds: seconds },
      `${sentences[scope]} Wait ${seconds} s: at most ${limit} in ${Math.round(windowMs / 1000)} s.`,
    );
  }

  const addressOf = (req: Request): string => countedAddress(req.ip ?? 'unknown');

  return {
    /** Authentication, and the limits of whoever it found, or did not. */
    around(authenticate: Authenticate): Authenticate {
      const { limit, windowMs, factor } = figures.address;
      return async (route, req, res) => {
        const outside = (): Promise<void> => charge(res, 'ip', `ip:${addressOf(req)}`, limit, windowMs);
        if (route.auth === 'svc') return authenticate(route, req, res);
        const caller = await authenticate(route, req, res).catch(async (error: unknown) => {
          // A database that does not answer is not the caller's fault.
          if (error instanceof AppError && error.status < 500) await outside();
          throw error;
        });
        if (route.auth === 'pub') await outside();
        else {
          await charge(res, 'ip', `ip+:${countedAddress(caller.ip ?? 'unknown')}`, limit * factor, windowMs);
          await chargeKey(caller, res);
        }
        return { ...caller, charge: (scope, name, most, withinMs) => charge(res, scope, name, most, withinMs) };
      };
    },
    /** How much of a key's window is left. */
    async left(key: KeyLimit & { id: string }): Promise<Counted | null> {
      const { limit, windowMs } = limitOf(key);
      return limit === 0 ? null : windows.peek(`key:${key.id}`, limit, windowMs);
    },
    limitOf,
  };

  async function chargeKey({ credential, keyLimit }: Caller, res: Response): Promise<void> {
    if (!keyLimit || credential.id === null) return;
    const keyId = credential.id;
    usage.begin(keyId);
    res.once('finish', () => usage.note(keyId, res.statusCode));
    const { limit, windowMs } = limitOf(keyLimit);
    await charge(res, 'key', `key:${keyId}`, limit, windowMs);
  }

  function limitOf({ rateLimit, rateWindowMs }: KeyLimit): { limit: number; windowMs: number } {
    return { limit: rateLimit ?? figures.key.limit, windowMs: rateWindowMs ?? figures.key.windowMs };
  }
}

export type RequestLimits = ReturnType<typeof createRequestLimits>;

/** The tightest of the limits that a request met, in both forms that clients read. */
function tell(res: Response, { limit, remaining, resetMs }: Counted): void {
  const told = res.locals['tightest'] as number | undefined;
  if (told !== undefined && told <= remaining) return;
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
