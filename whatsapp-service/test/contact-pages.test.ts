import { expect, test } from '@jest/globals';
import { comparedNameLength, contactCursorAfter, readContactCursor } from '@chasqui/shared';
import fc from 'fast-check';
import { contactRows, type PageContact } from '../src/engine/wwebjs/operations/contact-rows.js';
import type { PageCore } from '../src/engine/wwebjs/page/world.js';

/** Reads the list of contacts from a page that has these people, by id. */
function read(people: ReadonlyMap<string, string | null>, limit: number, cursor: string | null): PageContact[] {
  const models = [...people].map(([id, pushname]) => ({ id, pushname }));
  const core = {
    collections: () => ({ Contact: { getModelsArray: () => models }, Blocklist: { getModelsArray: () => [] } }),
    me: () => [],
    serialized: (id: string) => id,
    otherIdOf: () => null,
    idOf: () => null,
  } as unknown as PageCore;
  const after = cursor === null ? null : readContactCursor(cursor);
  if (cursor !== null && after === null) throw new Error('The cursor cannot be read.');
  return contactRows(core, { limit, offset: 0, after, comparedNameLength });
}

const idOf = ({ phone, lid }: PageContact): string => phone ?? lid!;
const cursorOf = (one: PageContact): string => contactCursorAfter({ id: idOf(one), name: one.pushName });

// Few names, so that many are equal, also to the collator alone, and two that differ behind the compared part.
const name = fc.constantFrom(
  null,
  '',
  'Ana',
  'ana',
  'Ána',
  'A\u0301na',
  'Bea',
  'Привет',
  '😀',
  '\ud800',
  ...['x', 'y'].map((end) => `${'L'.repeat(200)}${end}`),
);
const id = fc.nat({ max: 400 }).map((number) => `${551_100 + number}@c.us`);
const changes = fc.array(fc.record({ added: fc.array(fc.tuple(id, name), { maxLength: 3 }), removed: fc.nat() }), {
  maxLength: 30,
});

test('pages of contacts by cursor repeat no person and skip none while people are added and removed', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(id, name), { maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      changes,
      (first, limit, steps) => {
        const people = new Map(first);
        const before = new Map(first);
        const known = new Set(before.keys());
        const seen: string[] = [];
        let cursor: string | null = null;
        for (let page = 0; ; page += 1) {
          const rows = read(people, limit, cursor);
          seen.push(...rows.map(idOf));
          if (rows.length < limit) break;
          cursor = cursorOf(rows.at(-1)!);
          const { added = [], removed = 0 } = steps[page] ?? {};
          for (const [who, named] of added) {
            // No person is renamed: a renamed person may move over the cursor.
            if (!known.has(who)) people.set(who, named);
            known.add(who);
          }
          const gone = [...people.keys()][removed % Math.max(1, people.size)];
          if (steps[page] && gone !== undefined) people.delete(gone);
        }
        expect(seen.filter((who, index) => seen.indexOf(who) !== index)).toEqual([]);
        expect([...before.keys()].filter((who) => people.has(who) && !seen.includes(who))).toEqual([]);
      },
    ),
  );
});
