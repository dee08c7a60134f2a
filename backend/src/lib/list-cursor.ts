import { AppError, isId } from '@chasqui/shared';

/**
 * Cursors of lists that are ordered by a number (a time in milliseconds, or the cursor of an event) and then by id. A page that begins behind a row
 * repeats no row and skips none, whatever is added or deleted meanwhile; a page at an offset does.
 */
export interface Place {
  at: number;
  id: string;
}

/** Returns the cursor for the page behind a row. It is opaque to callers. */
export const cursorAfter = ({ at, id }: Place): string => Buffer.from(`${at}:${id}`).toString('base64url');

/** Returns the row behind which the page begins. Throws `VALIDATION_FAILED` for a text that no page returned. */
export function readCursor(cursor: string): Place {
  const [at = '', id = '', ...rest] = Buffer.from(cursor, 'base64url').toString().split(':');
  // Fifteen digits of milliseconds are thirty thousand years, and both databases store such a number exactly.
  if (!/^\d{1,15}$/.test(at) || !isId(id) || rest.length > 0)
    throw invalidCursor('cursor', 'Take the cursor from meta.nextCursor.');
  // Upper-case digits are valid in an id, but databases sort them differently.
  return { at: Number(at), id: id.toLowerCase() };
}

export const invalidCursor = (path: string, message: string): AppError =>
  new AppError('VALIDATION_FAILED', { fields: [{ path, code: 'INVALID_CURSOR', message }] });

/** Returns the cursor of the page behind a page of `limit` rows at most; null at the end. */
export const nextCursorOf = (places: readonly Place[], limit: number): string | null =>
  places.length === limit ? cursorAfter(places.at(-1)!) : null;
