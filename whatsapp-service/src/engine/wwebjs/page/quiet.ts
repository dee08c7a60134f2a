/**
 * Bounds what a page prints, throws and leaves rejected. The browser describes all of it to the worker, in full and more than once, although
 * nobody reads it: a page in a loop would take the worker's time from every session. Some lines a second pass, for a person who looks at the
 * page; what is behind them, or long, is dropped. Runs in every frame, before any script of the page.
 */
export function installQuiet(): void {
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
  /** An object would be described with all that it holds. */
  const short = (value: unknown): unknown => {
    if (typeof value === 'string') return value.slice(0, maxLength);
    if (value === null || ['undefined', 'boolean', 'number'].includes(typeof value)) return value;
    try {
      return value instanceof Error
        ? `${value.name}: ${value.message}`.slice(0, maxLength)
        : Object.prototype.toString.call(value);
    } catch {
      return typeof value; // A value that cannot be looked at.
    }
  };

  const printer = console as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of Object.keys(printer)) {
    const print = printer[name];
    // These two print nothing: pages work with what they return.
    if (typeof print !== 'function' || name === 'createTask' || name === 'context') continue;
    printer[name] = (...args) => (mayPrint() ? print.apply(console, args.slice(0, maxArguments).map(short)) : undefined);
  }
  // Who listens in the page still hears of it; only the report to the worker is left out.
  addEventListener('error', (event) => {
    if (event instanceof ErrorEvent && (!mayPrint() || event.message.length > maxLength)) event.preventDefault();
  });
  addEventListener('unhandledrejection', (event) => {
    if (!mayPrint() || short(event.reason) !== event.reason) event.preventDefault();
  });
}
