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
