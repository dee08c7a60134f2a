import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** An address that means "every interface" cannot be dialled. */
export function dialled(host) {
  if (host === '0.0.0.0' || host === '::' || host === '') return '127.0.0.1';
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}

/** The addresses under which the processes answer on this machine. */
export const addressesOf = (settings) => ({
  backend: `http://${dialled(settings.HOST)}:${settings.PORT}`,
  worker: `http://${dialled(settings.WORKER_HOST)}:${settings.WORKER_PORT}`,
});

/** The status of one GET, or null when there is no answer. `http` and not `fetch`: no connection stays open behind us. */
export function statusOf(url, timeoutMs = 2000) {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(null));
  });
}

/** Resolves to true once `url` answers 2xx, to false once `isGivenUp()` says that there is nothing to wait for any more. */
export async function untilReady(url, isGivenUp, everyMs = 150) {
  while (!isGivenUp()) {
    const status = await statusOf(url);
    if (status >= 200 && status < 300) return true;
    await sleep(everyMs);
  }
  return false;
}
