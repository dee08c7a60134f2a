import { errorFields, type Log } from '../lib/log.js';

const hourMs = 3_600_000;
const minuteMs = 60_000;

/**
 * What has to be looked through now and then: once a minute after the start, when everything is up, for what a kill left behind and
 * for what became too old while nothing ran; and every hour. One that fails is tried again with the next round, and stops no other.
 */
export function startSweep({
  tasks,
  log,
  firstMs = minuteMs,
}: {
  tasks: readonly (() => Promise<unknown>)[];
  log: Log;
  firstMs?: number | undefined;
}): { stop: () => void } {
  const round = async (): Promise<void> => {
    for (const result of await Promise.allSettled(tasks.map((task) => task())))
      if (result.status === 'rejected')
        log.error('What is out of date could not be removed; it is tried again in an hour.', errorFields(result.reason));
  };
  const first = setTimeout(() => void round(), firstMs).unref();
  const hourly = setInterval(() => void round(), hourMs).unref();
  return {
    stop(): void {
      clearTimeout(first);
      clearInterval(hourly);
    },
  };
}
