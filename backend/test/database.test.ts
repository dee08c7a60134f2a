import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { EventCounter, EventRow } from '../src/events/event.entity.js';
import { createEvents } from '../src/events/events.js';
import { addToRows, withSums } from '../src/db/additions.js';
import { insertRow, readBatch, readRows, readShared, updateRows } from '../src/db/rows.js';
import { behindSavepoint } from '../src/db/savepoint.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { systemClock } from '../src/lib/clock.js';
import { ChatUsage } from '../src/messages/usage/usage.entity.js';
import { databases, startRig, type Rig } from './support/backend.js';

describe.each(await databases())('%s', (database) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig({ database });
  });
  afterAll(async () => rig?.close());

  const count = (scope: string) => rig.database.reader.getRepository(EventCounter).findOneBy({ scope });
  const put = (scope: string) => rig.database.write.run((tx) => insertRow(tx, EventCounter, { scope, last: 1 }));

  test('entities and migrations agree: the schema builder would change nothing', async () => {
    const wanted = await rig.database.reader.driver.createSchemaBuilder().log();
    expect(wanted.upQueries.map((query) => query.query)).toEqual([]);
  });

  test('a transaction that throws is rolled back alone among many', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, (_, number) =>
        rig.database.write.run(async (tx) => {
          await insertRow(tx, EventCounter, { scope: `group-${number}`, last: 1 });
          if (number === 7) throw new Error('no');
          return number;
        }),
      ),
    );
    expect(results.filter((result) => result.status === 'rejected')).toHaveLength(1);
    expect([await count('group-6'), await count('group-7'), await count('group-8')]).toMatchObject([
      { last: 1 },
      null,
      { last: 1 },
    ]);
  });

  test('a single transaction that throws writes nothing, and the next one commits', async () => {
    const failed = rig.database.write.run(async (tx) => {
      await insertRow(tx, EventCounter, { scope: 'alone', last: 1 });
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    await put('after-alone');
    expect([await count('alone'), await count('after-alone')]).toMatchObject([null, { last: 1 }]);
  });

  test('a reader never sees uncommitted data', async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const writing = rig.database.write.run(async (tx) => {
      await insertRow(tx, EventCounter, { scope: 'unseen', last: 1 });
      await held;
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await count('unseen')).toBeNull();
    release();
    await writing;
    expect(await count('unseen')).toMatchObject({ last: 1 });
  });

  test('a read with one more column returns that column, whichever was read before', async () => {
    const read = async (also: readonly (keyof Account & string)[]) =>
      (await readRows(rig.database.reader, Account, 'email = ?', [rig.firstAdmin!.email], also))[0]!;
    for (const also of [['passwordHash'], ['jwtSecret'], ['passwordHash', 'jwtSecret'], []] as const) {
      const { passwordHash, jwtSecret } = await read(also);
      const wanted = (name: string) => ((also as readonly string[]).includes(name) ? 'string' : 'undefined');
      expect([also, typeof passwordHash, typeof jwtSecret]).toEqual([also, wanted('passwordHash'), wanted('jwtSecret')]);
    }
  });

  test('concurrent reads in one tick share one query, return separate objects, and read again after a commit', async () => {
    await put('batch');
    const { reader, coalescer } = rig.database;
    let reads = 0;
    const counting = {
      reader,
      coalescer: {
        ...coalescer,
        coalesce: <Row>(key: string, read: () => Promise<Row[]>) => coalescer.coalesce(key, () => ((reads += 1), read())),
      },
    };
    const ask = () => readBatch(counting, EventCounter, 'scope = ?', ['batch']);
    const [[one], [other]] = await Promise.all([ask(), ask()]);
    expect([reads, one, other]).toMatchObject([1, { last: 1 }, { last: 1 }]);
    expect(one).not.toBe(other);
    // Begun together with a write, a read may return the row from before it or from after it.
    const [seen] = await Promise.all([
      ask(),
      rig.database.write.run((tx) => updateRows(tx, EventCounter, { scope: 'batch' }, { last: 2 })),
    ]);
    expect([1, 2]).toContain(seen[0]?.last);
    expect((await ask())[0]?.last).toBe(2);
  });

  test('callers that only read get one frozen object in a tick, and another one after a commit', async () => {
    await put('shared');
    const ask = async () => (await readShared(rig.database, EventCounter, 'scope = ?', ['shared']))[0]!;
    const [one, other] = await Promise.all([ask(), ask()]);
    expect(other).toBe(one);
    expect(() => Object.assign(one, { last: 9 })).toThrow(TypeError);
    const [separate] = await readBatch(rig.database, EventCounter, 'scope = ?', ['shared']);
    expect(Object.assign(separate!, { last: 9 }).last).toBe(9);
    await rig.database.write.run((tx) => updateRows(tx, EventCounter, { scope: 'shared' }, { last: 2 }));
    expect(await ask()).toMatchObject({ last: 2 });
  });

  test('a commit ends the sharing of reads that began before it, also within one tick', async () => {
    const { coalescer } = rig.database;
    let reads = 0;
    const ask = () => void coalescer.coalesce('key', async () => [(reads += 1)]);
    await rig.database.write.run(async (tx) => {
      await insertRow(tx, EventCounter, { scope: 'ends-sharing', last: 1 });
      ask();
      tx.afterCommit(ask);
    });
    expect(reads).toBe(2);
  });

  test('after-commit callbacks run once the rows are there, and not at all after a throw', async () => {
    const ran: string[] = [];
    await rig.database.write.run(async (tx) => tx.afterCommit(() => ran.push('good')));
    await rig.database.write
      .run(async (tx) => {
        tx.afterCommit(() => ran.push('bad'));
        throw new Error('no');
      })
      .catch(() => undefined);
    expect(ran).toEqual(['good']);
  });

  test('no transaction is slept over when others end at that very moment', async () => {
    for (let round = 0; round < 50; round += 1) await put(`wake-${round}`);
    await rig.database.write.idle();
    expect(await count('wake-49')).not.toBeNull();
  });

  test('fifty writers at once leave no gap in cursors and sequences', async () => {
    const events = createEvents({ clock: systemClock });
    const accountId = newId();
    const sessionId = newId();
    const data = { step: 'probe' as const, reason: 'test', ok: true };
    await Promise.all(
      Array.from({ length: 50 }, () =>
        rig.database.write.run((tx) => events.append(tx, { accountId, sessionId, type: 'session.heal', data })),
      ),
    );
    const rows = await rig.database.reader.getRepository(EventRow).find({ where: { sessionId }, order: { cursor: 'ASC' } });
    expect(rows.map((row) => row.sequence)).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
    const all = await rig.database.reader.getRepository(EventRow).find({ order: { cursor: 'ASC' }, select: { cursor: true } });
    expect(all.map((row) => row.cursor)).toEqual(all.map((_, index) => index + 1));
  });

  test('numbers that a batch adds are written once, without those of parts that were rolled back', async () => {
    const accountId = newId();
    const chats = rig.database.reader.getRepository(ChatUsage);
    const one = (chatId: string, inbound: number): ChatUsage => ({
      accountId,
      at: 0,
      sessionId: 'sums',
      chatId,
      inbound,
      outbound: 1,
    });
    const add = (tx: Transaction, ...rows: ChatUsage[]): Promise<void> => addToRows(tx, ChatUsage, rows);
    await rig.database.write.run(async (tx) => {
      await withSums(tx, async (own) => {
        await add(own, one('a', 1));
        await behindSavepoint(own, 'event', (part) => add(part, one('a', 2), one('b', 5)));
        const failed = behindSavepoint(own, 'event', async (part) => {
          await add(part, one('a', 100), one('c', 100));
          throw new Error('no');
        });
        await expect(failed).rejects.toThrow('no');
        // Added and taken back: no row is written for it.
        await add(own, one('d', 1), { ...one('d', -1), outbound: -1 });
        expect(await tx.manager.countBy(ChatUsage, { accountId })).toBe(0);
      });
      expect(await tx.manager.countBy(ChatUsage, { accountId })).toBe(2);
    });
    await rig.database.write.run((tx) => withSums(tx, (own) => add(own, one('b', 1))));
    const rows = await chats.find({ where: { accountId }, order: { chatId: 'ASC' } });
    expect(rows.map(({ chatId, inbound, outbound }) => [chatId, inbound, outbound])).toEqual([
      ['a', 3, 2],
      ['b', 6, 2],
    ]);
  });

  test('a batch that fails after it has counted writes no numbers', async () => {
    const accountId = newId();
    const failed = rig.database.write.run((tx) =>
      withSums(tx, async (own) => {
        await addToRows(own, ChatUsage, [{ accountId, at: 0, sessionId: 'sums', chatId: 'a', inbound: 1, outbound: 0 }]);
        throw new Error('no');
      }),
    );
    await expect(failed).rejects.toThrow('no');
    expect(await rig.database.reader.getRepository(ChatUsage).countBy({ accountId })).toBe(0);
  });
});
