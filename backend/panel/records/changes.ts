/** One field of an audit entry: what it was, if that is known, and what it became. */
export interface Changed {
  name: string;
  before: string | null;
  after: string;
}

const textOf = (value: unknown): string => {
  if (value === null || value === '') return 'none';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'string' ? value : JSON.stringify(value);
};

function parsed(json: unknown): Record<string, unknown> | null {
  if (typeof json !== 'string') return null;
  try {
    const value = JSON.parse(json) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/**
 * Returns what an audit entry says of its object, from the columns `changes` and `previous` as JSON. A field that was set to the value which it had
 * is left out, and so are the names of fields whose values are known. Null: the entry cannot be read.
 */
export function changesIn(changes: unknown, previous: unknown): Changed[] | null {
  const after = parsed(changes);
  if (after === null) return null;
  const before = parsed(previous) ?? {};
  const names = Object.keys(after).filter((name) => name !== 'fields' || Object.keys(after).length === 1);
  return names.flatMap((name) => {
    const isKnown = name in before;
    const was = isKnown ? textOf(before[name]) : null;
    const is = textOf(after[name]);
    if (was === is || (!isKnown && is === 'none')) return [];
    return [{ name: name.replace(/^settings\./, ''), before: was, after: is }];
  });
}

/** A change in one line: "role: user → staff". */
export const changeText = ({ name, before, after }: Changed): string =>
  before === null ? `${name}: ${after}` : `${name}: ${before} → ${after}`;
