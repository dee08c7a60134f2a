import type { DataSource } from 'typeorm';
import { namedIn } from '../../messages/read/named.js';
import type { MessageSearch } from '../../search/search.js';

/** How far a search goes: to so many matches, and through so many messages that have the letters of the text. */
interface Reach {
  maxMatches: number;
  maxExamined: number;
}

/** Returns the ids of the newest messages of all accounts that a search finds by text, name, number or id, newest first. */
export async function foundMessages(
  { reader, search }: { reader: DataSource; search: Pick<MessageSearch, 'find'> },
  term: string,
  { maxMatches, maxExamined }: Reach,
): Promise<string[]> {
  const { matches } = await search.find({
    term,
    named: await namedIn(reader, { accountId: null, sessionId: null }, term),
    only: null,
    conditions: [],
    facts: { all: [], any: [] },
    order: 'desc',
    range: { from: null, to: null },
    lateRange: null,
    maxMatches,
    maxPlaces: maxExamined,
  });
  return matches.map(({ id }) => id);
}
