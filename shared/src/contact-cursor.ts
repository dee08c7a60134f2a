/** The position of a person in the list of contacts: by name, people without a name last, then by id. */
export interface ContactPlace {
  name: string;
  id: string;
}

/** Names are compared up to this length, so that a cursor has a limit. */
export const comparedNameLength = 100;

/** Returns the cursor for the page behind a person. It is opaque to callers. */
export const contactCursorAfter = ({ name, id }: { name: string | null; id: string }): string =>
  Buffer.from(JSON.stringify([(name ?? '').slice(0, comparedNameLength), id])).toString('base64url');

/** Returns the person behind whom the page begins. Null for a text that no page returned. */
export function readContactCursor(cursor: string): ContactPlace | null {
  try {
    const [name, id, ...rest] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
    const isPlace = typeof name === 'string' && name.length <= comparedNameLength && typeof id === 'string' && id !== '';
    return isPlace && rest.length === 0 ? { name, id } : null;
  } catch {
    return null;
  }
}
