import type { CDPSession, Page } from 'puppeteer';

type Handler = (...args: unknown[]) => void;

/** What the page calls; each call names its function in the payload. */
const channel = 'chasquiTell';
const maxArguments = 10;

/**
 * Functions in the page whose answer nobody waits for: as `exposeFunction` hangs them in, now and after every navigation. Puppeteer's own
 * runs a script in the page for every call, to hand the answer back, and with hundreds of messages a second that is most of what the
 * bridge costs. Here a call is one message from the page. What a handler throws goes to `onFailure`: thrown on, it would end the process.
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
    // Bindings come back after a change of renderer only where the domain is enabled.
    await session.send('Runtime.enable');
    letGo(session);
    await session.send('Runtime.addBinding', { name: channel });
  }

  return async (name, handler) => {
    handlers.set(name, handler);
    await (opened ??= open());
    await page.evaluateOnNewDocument(install, channel, name);
    await page.evaluate(install, channel, name);
  };
}

/** What the page prints or throws is held in its memory for every session that could ask for it, until that session says that it does not. */
function letGo(session: CDPSession): void {
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
function install(through: string, name: string): void {
  const win = window as unknown as Record<string, (...args: unknown[]) => unknown>;
  win[name] = (...args) => {
    // Thrown on, it would end the loop in which WhatsApp tells its listeners, and what it tells would be lost.
    const core = (window as unknown as { chasqui?: { plain(value: unknown): unknown } }).chasqui;
    win[through]!(JSON.stringify([name, core ? core.plain(args) : args]));
    return Promise.resolve();
  };
}

/** What the page says may be anything: whatever runs in it can call the binding. */
function callOf(payload: string): { name: string; args: unknown[] } | null {
  try {
    const [name, args] = JSON.parse(payload) as unknown[];
    // A call with a million arguments would not fit on the stack.
    return typeof name === 'string' && Array.isArray(args) ? { name, args: args.slice(0, maxArguments) } : null;
  } catch {
    return null;
  }
}
