import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { pageOf, reportGone, type SessionContext } from './context.js';
import { sleep } from './deadline.js';
import { essentialListeners, readListeners } from './listener-reports.js';

/** Modules register one after the other while the page loads. */
const tries = 4;
const betweenTriesMs = 1_000;
const listenMs = 10_000;

/**
 * Replaces the chain in which the library attaches its listeners in the page (docs/decisions/080): each kind of event has a listener of its own, see
 * `page/listeners.ts`. The library still exposes its functions to the page and emits its events.
 */
export function replaceListeners(context: SessionContext): void {
  const attachable = context.client as unknown as { attachEventListeners(): Promise<void> };
  const attachLibrary = attachable.attachEventListeners;
  attachable.attachEventListeners = async () => {
    const view = withoutChain(pageOf(context));
    await attachLibrary.call(Object.create(context.client, { pupPage: { value: view.page } }) as typeof attachable);
    // With another release of the library both would listen, and each event would come twice.
    if (view.skipped() !== 1) throw new Error('The library attaches its listeners in another way than this release expects.');
    await attachListeners(context);
  };
}

/** The page, but without the one script that attaches the library's listeners. */
function withoutChain(page: Page): { page: Page; skipped: () => number } {
  let skipped = 0;
  const evaluate = async (run: unknown, ...given: unknown[]): Promise<unknown> => {
    if (given.length > 0 || !String(run).includes('onAddMessageEvent')) return page.evaluate(run as never, ...(given as never[]));
    skipped += 1;
    return undefined;
  };
  const view = new Proxy(page, {
    get(target, name) {
      if (name === 'evaluate') return evaluate;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
  return { page: view, skipped: () => skipped };
}

/** Attaches what can be attached. Without an essential listener the session is lost: it would look connected and receive nothing. */
async function attachListeners(context: SessionContext): Promise<void> {
  for (let count = 1; ; count += 1) {
    const reports = readListeners(await callPage<unknown>(pageOf(context), 'listen', {}, listenMs));
    const failed = reports.filter(({ state }) => state === 'failed');
    const isEssential = failed.some(({ name }) => essentialListeners.has(name));
    if (isEssential && count < tries) {
      await sleep(betweenTriesMs);
      continue;
    }
    for (const { name, detail } of failed)
      context.config.onWarning?.('A kind of event cannot be received from this WhatsApp Web.', { kind: name, detail });
    if (isEssential)
      reportGone(
        context,
        'WHATSAPP_WEB_CHANGED',
        `No listener for ${failed.map(({ name }) => name).join(', ')} could be attached.`,
      );
    return;
  }
}
