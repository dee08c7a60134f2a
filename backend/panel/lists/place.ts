import { useEffect } from 'react';

/** Where a person was in a list, so that the way back from a row leads there: its filters and page, and how far it was scrolled. */

const key = (pathname: string): string => `place ${pathname}`;
const scroller = (): Element | null => document.querySelector('[data-css=app-content]');

interface Place {
  search: string;
  top: number;
}

function placeOf(pathname: string): Place | null {
  try {
    return JSON.parse(sessionStorage.getItem(key(pathname)) ?? 'null') as Place | null;
  } catch {
    return null;
  }
}

/** The address of a list as it was left last. */
export const lastPlace = (pathname: string): string => pathname + (placeOf(pathname)?.search ?? '');

/** Remembers the place in a list, and scrolls back to it once its rows are there. */
export function usePlace(pathname: string, search: string, isReady: boolean): void {
  useEffect(() => {
    const box = scroller();
    if (!isReady || !box) return undefined;
    const before = placeOf(pathname);
    if (before?.search === search) box.scrollTop = before.top;
    const remember = (): void => sessionStorage.setItem(key(pathname), JSON.stringify({ search, top: box.scrollTop }));
    remember();
    box.addEventListener('scroll', remember, { passive: true });
    return () => box.removeEventListener('scroll', remember);
  }, [pathname, search, isReady]);
}

const rowsKey = (pathname: string): string => `rows ${pathname}`;

/** Remembers which rows a list shows, in their order. */
export function useRows(pathname: string, ids: readonly string[]): void {
  const text = JSON.stringify(ids);
  useEffect(() => {
    if (text !== '[]') sessionStorage.setItem(rowsKey(pathname), text);
  }, [pathname, text]);
}

/** Returns the rows before and after one, on the page of the list that was shown last. */
export function neighboursOf(pathname: string, id: string): { previous: string | undefined; next: string | undefined } {
  let ids: unknown = null;
  try {
    ids = JSON.parse(sessionStorage.getItem(rowsKey(pathname)) ?? '[]');
  } catch {
    // Something else wrote it: no neighbours are known.
  }
  const known = Array.isArray(ids) ? ids.map(String) : [];
  const place = known.indexOf(id);
  return place < 0 ? { previous: undefined, next: undefined } : { previous: known[place - 1], next: known[place + 1] };
}
