import type { CDPSession, Page } from 'puppeteer';

type Handler = (...args: unknown[]) => void;

/** The name of the binding that the page calls. The payload of each call names the function. */
const channel = 'chasquiCall';
const maxArguments = 10;

/**
 * Exposes functions to the page whose results are not awaited, now and after every navigation. Puppeteer's `exposeFunction` runs a script in
 * the page for every call to return the result; at hundreds of messages a second that is most of the cost of the bridge. Here a call is one
 * message from the page. What a handler throws goes to `onFailure`; as an unhandled error it would end the process.
 */
export function createOneWay(
  page: Page,
  onFailure: (name: string, error: unknown) => void,
): (name: string, handler: Handler) => Promise<void> {
  const handlers = new Map<string, Handler>();
  let opened: Promise<void> | null = null;

  async function open(): Promise<void> {
    const session = await page.createCDPSession();
    session.on('Runtime.bindingCalled', ({ name, payload }) => {
      const call = name === channel ? callOf(payload) : null;
      if (!call) return;
      try {
        handlers.get(call.name)?.(...call.args);
      } catch (error) {
        onFailure(call.name, error);
      }
    });
    // Bindings are restored after a change of renderer only if the domain is enabled.
    await session.send('Runtime.enable');
    releaseConsoleObjects(session);
    await session.send('Runtime.addBinding', { name: channel });
  }

  return async (name, handler) => {
    handlers.set(name, handler);
    await (opened ??= open());
    await page.evaluateOnNewDocument(install, channel, name);
    await page.evaluate(install, channel, name);
  };
}

/** The page keeps everything that it prints or throws in memory for each CDP session until that session releases it. */
function releaseConsoleObjects(session: CDPSession): void {
  let running = false;
  const release = (): void => {
    if (running) return;
    running = true;
    session
      .send('Runtime.releaseObjectGroup', { objectGroup: 'console' })
      .catch(() => undefined) // The page is gone, and its memory with it.
      .finally(() => (running = false));
  };
  session.on('Runtime.consoleAPICalled', release);
  session.on('Runtime.exceptionThrown', release);
}

/** Runs in the page. */
function install(binding: string, name: string): void {
  const win = window as unknown as Record<string, (...args: unknown[]) => unknown>;
  win[name] = (...args) => {
    // An exception here would end the loop in which WhatsApp calls its listeners, and the event would be lost.
    const core = (window as unknown as { chasqui?: { plain(value: unknown): unknown } }).chasqui;
    win[binding]!(JSON.stringify([name, core ? core.plain(args) : args]));
    return Promise.resolve();
  };
}

/** The payload is not trusted: any code in the page can call the binding. */
function callOf(payload: string): { name: string; args: unknown[] } | null {
  try {
    const [name, args] = JSON.parse(payload) as unknown[];
    // A call with a million arguments would not fit on the stack.
    return typeof name === 'string' && Array.isArray(args) ? { name, args: args.slice(0, maxArguments) } : null;
  } catch {
    return null;
  }
}
