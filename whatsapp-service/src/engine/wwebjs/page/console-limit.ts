/**
 * Limits console output, exceptions and unhandled rejections of a page. The browser sends all of them to the worker, in full and more than
 * once, although the worker does not use them: a page that prints in a loop would slow down every session. A few short lines each second are
 * allowed, for debugging; the others are dropped. Runs in every frame, before any script of the page.
 */
export function installConsoleLimit(): void {
  const linesPerSecond = 20;
  const maxLength = 1_000;
  const maxArguments = 10;
  let second = 0;
  let lines = 0;
  const mayPrint = (): boolean => {
    const now = Math.floor(performance.now() / 1_000);
    if (now !== second) [second, lines] = [now, 0];
    lines += 1;
    return lines <= linesPerSecond;
  };
  /** Shortens a value. An object would be sent with all its contents. */
  const short = (value: unknown): unknown => {
    if (typeof value === 'string') return value.slice(0, maxLength);
    if (value === null || ['undefined', 'boolean', 'number'].includes(typeof value)) return value;
    try {
      return value instanceof Error
        ? `${value.name}: ${value.message}`.slice(0, maxLength)
        : Object.prototype.toString.call(value);
    } catch {
      return typeof value; // Reading the value failed.
    }
  };

  const printer = console as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of Object.keys(printer)) {
    const print = printer[name];
    // These two print nothing, and pages use their results.
    if (typeof print !== 'function' || name === 'createTask' || name === 'context') continue;
    printer[name] = (...args) => (mayPrint() ? print.apply(console, args.slice(0, maxArguments).map(short)) : undefined);
  }
  // Listeners in the page still receive the event; only the report to the worker is suppressed.
  addEventListener('error', (event) => {
    if (event instanceof ErrorEvent && (!mayPrint() || event.message.length > maxLength)) event.preventDefault();
  });
  addEventListener('unhandledrejection', (event) => {
    if (!mayPrint() || short(event.reason) !== event.reason) event.preventDefault();
  });
}
