import { AppError } from '@chasqui/shared';
import type { Clock } from '../lib/clock.js';

const windowMs = 15 * 60_000;
const most = { account: 10, ip: 30 };
const mostEntries = 50_000;

/** Failed logins: ten an account, thirty an address, in 15 minutes (LIM-10). In memory: a restart forgives. */
export function createLoginLimit(clock: Clock) {
  const failures = new Map<string, number[]>();
  const recent = (key: string): number[] => (failures.get(key) ?? []).filter((at) => at > clock.now().getTime() - windowMs);
  const keysOf = (email: string, ip: string | null): [string, number][] => [
    [`account:${email.toLowerCase()}`, most.account],
    ...(ip ? [[`ip:${ip}`, most.ip] as [string, number]] : []),
  ];

  return {
    check(email: string, ip: string | null): void {
      for (const [key, limit] of keysOf(email, ip)) {
        const times = recent(key);
        if (times.length < limit) continue;
        const seconds = Math.ceil((times[0]! + windowMs - clock.now().getTime()) / 1000);
        throw new AppError(
          'RATE_LIMITED',
          { scope: 'login', retryAfterSeconds: seconds },
          `Too many failed logins. Try again in ${Math.ceil(seconds / 60)} minutes.`,
        );
      }
    },
    failed(email: string, ip: string | null): void {
      if (failures.size > mostEntries) failures.clear();
      for (const [key] of keysOf(email, ip)) failures.set(key, [...recent(key), clock.now().getTime()]);
    },
    succeeded: (email: string): void => void failures.delete(`account:${email.toLowerCase()}`),
  };
}
