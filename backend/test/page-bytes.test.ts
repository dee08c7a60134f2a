import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, type EventResource, type MessageResource } from '@chasqui/shared';
import { countThatFit } from '../src/db/page-bytes.js';
import { insertRows, readRows } from '../src/db/rows.js';
import { EventCounter, EventRow } from '../src/events/event.entity.js';
import { createEventLog } from '../src/events/log.js';
import { systemClock } from '../src/lib/clock.js';
import { Message } from '../src/messages/message.entity.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';

/** Pages of the longest messages that there can be: bounded in bytes, and still every row is found by going on. */
const count = 60;
const long = '€'.repeat(65_536);
const maxReplyBytes = 6 * 1024 * 1024;

test('a page has as many rows as fit, and at least one', () => {
  const rows = [5, 5, 5].map((bytes) => ({ bytes }));
  expect([4, 5, 9, 10, 15, 99].map((maxBytes) => countThatFit(rows, maxBytes))).toEqual([1, 1, 1, 2, 3, 3]);
  expect(countThatFit([], 10)).toBe(0);
});

describe.each(await databases())('pages of long rows on %s', (database) => {
  let core: Core;
  let ids: string[];
  beforeAll(async () => {
    core = await startCore({ database });
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('first'), origin: 'live' });
    const { reader, write } = core.rig.database;
    const [first] = await readRows(reader, Message, '1 = 1', []);
    const [event] = await readRows(reader, EventRow, `type = 'message.received'`, []);
    const [counter] = await readRows(reader, EventCounter, `scope = 'log'`, []);
    const copies = Array.from({ length: count }, (_, n) => {
      const id = newId(first!.createdAt.getTime() + n + 1);
      return {
        ...first!,
        id,
        whatsappKey: `copy-${n}`,
        whatsappId: null,
        // Not in `text`, which would be indexed for searches meanwhile.
        text: null,
        content: { type: 'text' as const, message: long },
      };
    });
    ids = copies.map(({ id }) => id);
    await write.run(async (tx) => {
      for (const copy of copies) await insertRows(tx, Message, [copy]);
      for (let n = 1; n <= count; n += 1)
        await insertRows(tx, EventRow, [
          { ...event!, id: newId(), cursor: Number(counter!.last) + n, sequence: null, data: { ...event!.data, text: long } },
        ]);
    });
  });
  afterAll(() => core?.close());

  const sizeOf = (body: object): number => Buffer.byteLength(JSON.stringify(body));

  test('a list of messages continues by its cursor until every message was read once', async () => {
    const seen: string[] = [];
    let pages = 0;
    for (let cursor = ''; ; pages += 1) {
      const { body } = await core.get(`/messages?limit=200${cursor && `&cursor=${cursor}`}`);
      expect(sizeOf(body)).toBeLessThan(maxReplyBytes);
      seen.push(...(body.data as MessageResource[]).map(({ id }) => id));
      const next = body.meta!['nextCursor'] as string | null;
      if (!next) break;
      cursor = next;
    }
    expect(seen).toHaveLength(count + 1);
    expect(new Set(seen)).toEqual(new Set([...seen, ...ids]));
    expect(pages).toBeGreaterThan(1);
  });

  test('a list by offset says how many rows it has, and continues after them', async () => {
    const seen: string[] = [];
    let pages = 0;
    for (let offset = 0; offset <= count; pages += 1) {
      const { body } = await core.get(`/messages?limit=200&offset=${offset}`);
      const page = body.data as MessageResource[];
      expect(body.meta).toMatchObject({ total: count + 1 });
      const isCut = offset + page.length <= count;
      expect((body as { warnings?: { code: string }[] }).warnings?.map(({ code }) => code) ?? []).toEqual(
        isCut ? ['PAGE_CUT'] : [],
      );
      seen.push(...page.map(({ id }) => id));
      offset += page.length;
    }
    expect(new Set(seen).size).toBe(count + 1);
    expect(pages).toBeGreaterThan(1);
  });

  test('the event log continues by its cursor until every event was read once, and a timeline is bounded', async () => {
    const seen: string[] = [];
    for (let after = ''; ;) {
      const { body } = await core.get(`/events?limit=200&types=message.received&after=${after}`);
      expect(sizeOf(body)).toBeLessThan(maxReplyBytes);
      const page = body.data as EventResource[];
      if (page.length === 0) break;
      seen.push(...page.map(({ cursor }) => cursor));
      after = body.meta!['nextCursor'] as string;
    }
    expect(seen).toHaveLength(count + 1);
    expect([...seen].sort()).toEqual(seen);
    const [first] = await readRows(core.rig.database.reader, EventRow, `type = 'message.received'`, []);
    const events = await createEventLog({ database: core.rig.database, clock: systemClock }).ofMessage(
      first!.accountId,
      first!.messageId!,
    );
    expect(events.length).toBeGreaterThan(1);
    expect(events.length).toBeLessThan(count);
    expect(Number(events.at(-1)!.cursor)).toBe(Number(seen.at(-1)));
  });
});
