/**
 * Stored JSON that cannot be parsed. A row with such a column is read like every other row, so that it does not hide the rows beside it;
 * code that uses the column throws `UnreadableColumnError` and fails alone. A list shows the row without the column, by `readable`.
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
  // `await`, assertions and the ORM read other symbols and `then`, and only pass the value on.
  get: (_, key) => (key !== Symbol.iterator && (typeof key === 'symbol' || key === 'then') ? undefined : fail()),
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

/** Returns the value, or `otherwise` when the stored text is not valid. For code that only shows a row. */
export const readable = <T, O>(value: T, otherwise: O): T | O => (storedTextOf(value) === undefined ? value : otherwise);

/** Parses a JSON column. Every JSON column holds an object or a list, so a number or a text in it is damage as well. */
export function parseColumn(stored: string): unknown {
  try {
    const value: unknown = JSON.parse(stored);
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Not JSON.
  }
  return unreadable(stored);
}

/** Returns the row. Throws when one of its columns could not be read. For rows that must be complete, such as in an export or before a send. */
export function requireReadable<T extends object>(row: T): T {
  if (Object.values(row).some((value) => storedTextOf(value) !== undefined)) fail();
  return row;
}
