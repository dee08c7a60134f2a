import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'puppeteer';
import { eventually, startStack, type Stack } from '../../bench/src/stack.js';
import { launch, visit } from './panel.visit.js';
import { password } from './support/backend.js';

/** What a person at the panel sees when a real process is killed or frozen, and how soon, with the heartbeat that an installation has. */

const me = '5511988887777';
/** Each outage is told within this time. */
const promisedMs = 10_000;
/** How long a test waits, so that a failure says how long it took. */
const boundMs = 40_000;

let stack: Stack;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  stack = await startStack({ settings: { ADMIN_PASSWORD: password } });
  await stack.simulator.client.createAccount({ phone: me, name: 'Shop' });
  await stack.api('POST', '/sessions/init');
  const { body } = await stack.api<{ qrText: string }>('GET', '/sessions/current/qr');
  await stack.simulator.client.scan({ qr: body.data.qrText, phone: me });
  await eventually(
    'the session to be connected',
    async () => {
      const status = await stack.api('GET', '/sessions/status');
      return status.body.data['isConnected'] === true;
    },
    60_000,
  );
  browser = await launch();
  page = await visit(browser, { url: stack.urls.backend }, [1440, 900], { login: 'admin@localhost.localdomain', password });
}, 180_000);
afterAll(async () => {
  // A frozen process cannot be ended by a signal that it would handle.
  for (const part of ['worker', 'backend'] as const) if (stack?.isUp(part)) process.kill(stack.pid(part), 'SIGCONT');
  await browser?.close();
  await stack?.close();
}, 60_000);

/** How long the page takes for one answer of the server until it is drawn. It is added to what is promised, for a busy machine. */
const delayMs = (): Promise<number> =>
  page.evaluate(async () => {
    const began = performance.now();
    await fetch('/admin/live/status');
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return performance.now() - began;
  });
const calm = () =>
  page.waitForFunction(
    () => document.querySelector('[data-testid=alerts]')?.textContent === '' && document.querySelector('.cq-fresh.cq-good'),
    { timeout: boundMs, polling: 100 },
  );

/** Causes an outage, and waits until the bar above the page says these words in red. */
async function told(cause: () => unknown, words: RegExp, title: RegExp): Promise<void> {
  await calm();
  const allowedMs = promisedMs + (await delayMs());
  const began = Date.now();
  await cause();
  await page.waitForFunction(
    (wanted) =>
      [...document.querySelectorAll('[data-testid=alerts] .cq-bad')].some((one) =>
        new RegExp(wanted).test(one.textContent ?? ''),
      ),
    { timeout: boundMs, polling: 100 },
    words.source,
  );
  expect(Date.now() - began).toBeLessThanOrEqual(allowedMs);
  expect(await page.title()).toMatch(title);
  expect(await page.$('.cq-fresh.cq-good')).toBeNull();
}

const signal = (part: 'backend' | 'worker', name: 'SIGSTOP' | 'SIGCONT') => process.kill(stack.pid(part), name);

test('a worker that is killed is told with its phone, and the alarm ends when it is back', async () => {
  await told(() => stack.end('worker', 'SIGKILL'), /Worker .+ is silent: 1 phone is offline\./, /^\(1 offline\) /);
  await stack.start('worker');
  await calm();
}, 120_000);

test('a worker that is frozen is told in the same way', async () => {
  await told(() => signal('worker', 'SIGSTOP'), /Worker .+ is silent: 1 phone is offline\./, /^\(1 offline\) /);
  signal('worker', 'SIGCONT');
  await calm();
}, 120_000);

test('a backend that is frozen cannot say so; its page does, and nothing on it stays green', async () => {
  await told(() => signal('backend', 'SIGSTOP'), /The backend does not answer\./, /^\(no answer\) /);
  signal('backend', 'SIGCONT');
  await calm();
}, 120_000);
