import { useEffect, useState } from 'react';
import type { Found } from '../../src/admin/views/find.js';
import { get, messageOf } from '../api.js';
import { newPages, pageGroups } from './pages.js';

/** One result. `to` is its path below the root of the panel. */
export interface Result {
  title: string;
  below: string;
  to: string;
}

export interface ResultGroup {
  name: string;
  results: readonly Result[];
}

/** A pause this long after the last key, before the server is asked. Milliseconds. */
const askAfterMs = 200;
/** The most pages that are shown once something was typed. */
const maxPages = 6;

const kinds: Readonly<Record<Found['kind'], string>> = {
  session: 'Sessions',
  message: 'Messages',
  webhook: 'Webhooks',
  account: 'Accounts',
};

/** Returns the pages with a term in their name; all pages for an empty one. */
function pagesFor(term: string, isAdmin: boolean): Result[] {
  const pages = pageGroups.flatMap(({ name, links }) => links.map(([to, title]) => ({ title, below: name, to })));
  const forms = newPages.filter(([, , forAdmins]) => isAdmin || !forAdmins).map(([to, title]) => ({ title, below: '', to }));
  if (term === '') return pages;
  const part = term.toLowerCase();
  return [...pages, ...forms].filter(({ title }) => title.toLowerCase().includes(part)).slice(0, maxPages);
}

/** Finds pages at once, and the objects of the server a moment after the last key. `isBusy`: the server was not heard yet. */
export function useFind(term: string, isAdmin: boolean): { groups: ResultGroup[]; isBusy: boolean; problem: string | null } {
  const [answer, setAnswer] = useState<{ term: string; found: Found[]; problem: string | null }>({
    term: '',
    found: [],
    problem: null,
  });
  useEffect(() => {
    if (term === '') return undefined;
    let isCurrent = true;
    const timer = window.setTimeout(() => {
      get<Found[]>(`/live/find?term=${encodeURIComponent(term)}`).then(
        (found) => isCurrent && setAnswer({ term, found, problem: null }),
        (error: unknown) => isCurrent && setAnswer({ term, found: [], problem: messageOf(error) }),
      );
    }, askAfterMs);
    return () => {
      isCurrent = false;
      window.clearTimeout(timer);
    };
  }, [term]);
  const isBusy = term !== '' && answer.term !== term;
  const found = term === '' || isBusy ? [] : answer.found;
  const groups = [
    { name: 'Pages', results: pagesFor(term, isAdmin) },
    ...Object.entries(kinds).map(([kind, name]) => ({ name, results: found.filter((one) => one.kind === kind) })),
  ];
  return { groups: groups.filter(({ results }) => results.length > 0), isBusy, problem: isBusy ? null : answer.problem };
}
