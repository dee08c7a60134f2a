/**
 * Stored JSON that cannot be parsed. A row with such a column is read like every other row, so that it does not take the rows beside it away;
 * what uses the column throws `UnreadableColumnError`, and fails alone. A list shows the row without the column, by `readable`.
 */
export class UnreadableColumnError extends Error {
  readonly code = 'UNREADABLE_COLUMN';
  constructor() {
    super('A column of this row holds no valid JSON.');
    this.name = 'UnreadableColumnError';
  }
}

const storedTexts = new WeakMap<object, string>();

const fail = (): never => {
  throw new UnreadableColumnError();
};

const handler: ProxyHandler<object> = {
  // Symbols and `then` are asked for by `await`, by assertions and by the ORM, which only pass the value on.
  get: (_, key) => (typeof key === 'symbol' || key === 'then' ? undefined : fail()),
  has: fail,
  ownKeys: fail,
  getOwnPropertyDescriptor: fail,
  set: fail,
  deleteProperty: fail,
  defineProperty: fail,
};

/** A value that throws when one of its properties is read or written. */
function unreadable(stored: string): object {
  const value = new Proxy({}, handler);
  storedTexts.set(value, stored);
  return value;
}

/** The text that an unreadable value was read from; undefined for every other value. */
export const storedTextOf = (value: unknown): string | undefined =>
  typeof value === 'object' && value !== null ? storedTexts.get(value) : undefined;

/** The value, or `otherwise` where what is stored is not valid. For what only shows a row. */
export const readable = <T, O>(value: T, otherwise: O): T | O => (storedTextOf(value) === undefined ? value : otherwise);

/** Parses a JSON column. Every column of ours holds an object or a list, so that a number or a text in it is damage as well. */
export function parseColumn(stored: string): unknown {
  try {
    const value: unknown = JSON.parse(stored);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // It is no JSON.
  }
  return unreadable(stored);
}

/** The row. Throws when a column of it could not be read. For what must be whole, such as an export or what is about to be sent. */
export function requireReadable<T extends object>(row: T): T {
  if (Object.values(row).some((value) => storedTextOf(value) !== undefined)) fail();
  return row;
}
