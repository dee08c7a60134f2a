import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { pageOf, reportGone, type SessionContext } from './context.js';
import { sleep } from './deadline.js';
import { essentialListeners, readListeners } from './listener-reports.js';

/** Essential listeners are tried several times, because the page's modules register one after another while it loads. */
const tries = 4;
const betweenTriesMs = 1_000;
const listenMs = 10_000;

/**
 * Makes the library attach our listeners in the page instead of its chain of listeners (docs/decisions/080): each kind of event has a listener of its
 * own, see `page/listeners.ts`. The library still exposes its functions to the page and emits its events.
 */
export function replaceListeners(context: SessionContext): void {
  const attachable = context.client as unknown as { attachEventListeners(): Promise<void> };
  const attachLibrary = attachable.attachEventListeners;
  attachable.attachEventListeners = async () => {
    const view = withoutChain(pageOf(context));
    await attachLibrary.call(Object.create(context.client, { pupPage: { value: view.page } }) as typeof attachable);
    // Closes: with another release of the library both would listen, and each event would be emitted twice.
    if (view.skipped() !== 1) throw new Error('The library attaches its listeners in another way than this release expects.');
    await attachListeners(context);
  };
}

/** Returns a view of the page that does not run the one script that attaches the library's listeners. `skipped` counts how often it was asked to. */
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

/** Attaches every listener that can be attached. If an essential one cannot, the session ends: it would look connected and receive nothing. */
async function attachListeners(context: SessionContext): Promise<void> {
  const { asksPhone = true } = context.config;
  for (let count = 1; ; count += 1) {
    const reports = readListeners(await callPage<unknown>(pageOf(context), 'listen', { asksPhone }, listenMs));
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
