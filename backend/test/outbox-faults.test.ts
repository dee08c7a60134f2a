/* eslint-disable max-lines -- one rig of two backends, and one block for each fault */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openDatabase, type Database } from '../src/db/database.js';
import { runStatement } from '../src/db/statement.js';
import type { Dispatcher } from '../src/messages/send/dispatcher.js';
import { Message } from '../src/messages/message.entity.js';
import { createPacing } from '../src/messages/send/pacing.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, migratedDatabase } from './support/backend.js';
import { eventually } from './support/eventually.js';
import {
  createWorld,
  makeAccount,
  makeSession,
  presenceOf,
  queue,
  recordingLog,
  startDispatcher,
  statusesOf,
  type OutboxOptions,
  type World,
} from './support/outbox.js';

/** Faults of the database, of single messages and of other backends, injected into the real dispatcher. */

type Fault = 'none' | 'before' | 'after';
const faults = fc.array(fc.constantFrom<Fault>('none', 'none', 'before', 'after'), { minLength: 5, maxLength: 60 });

/** A database whose transactions fail as `faults` says: before they begin, or after their commit, when the answer is lost. */
function faulty(database: Database, list: readonly Fault[]): Database {
  const left = [...list];
  return {
    ...database,
    write: {
      ...database.write,
      async run(work) {
        const fault = left.shift() ?? 'none';
        if (fault === 'before') throw new Error('The database does not answer.');
        const result = await database.write.run(work);
        if (fault === 'after') throw new Error('The commit got no answer.');
        return result;
      },
    },
  };
}

describe.each(await databases())('the outbox on %s', (dialect) => {
  let dir: string;
  let drop: () => Promise<void> = () => Promise.resolve();
  let database: Database;
  let accountId: string;
  let world: World;
  const running: Dispatcher[] = [];
  const start = (options: Partial<OutboxOptions> = {}): ReturnType<typeof startDispatcher> => {
    const dispatcher = startDispatcher({ database, world, ...options });
    running.push(dispatcher);
    return dispatcher;
  };
  const allAre = (sessionId: string, status: string) =>
    eventually(`all of the session to be ${status}`, async () => {
      const statuses = Object.values(await statusesOf(database, sessionId));
      return statuses.length > 0 && statuses.every((one) => one === status);
    });
  const leftOf = (sessionId: string): string[] =>
    world.left.filter((one) => one.sessionId === sessionId).map(({ messageId }) => messageId);
  /** Without reading whole rows. */
  const statusesBy = async (sessionId: string): Promise<Record<string, string>> => {
    const { rows } = await runStatement(database.reader, 'SELECT id, status FROM messages WHERE "sessionId" = ?', [sessionId]);
    return Object.fromEntries((rows as { id: string; status: string }[]).map(({ id, status }) => [id, status]));
  };
  const update = (sql: string, values: readonly unknown[]) => database.write.run((tx) => runStatement(tx.manager, sql, values));

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'chasqui-outbox-'));
    if (dialect === 'postgres') {
      const own = await migratedDatabase();
      drop = own.drop;
      database = await openDatabase({ url: own.url });
    } else database = await openDatabase({ file: join(dir, 'outbox.sqlite') });
    accountId = await makeAccount(database);
  });
  beforeEach(() => {
    world = createWorld();
  });
  afterEach(async () => {
    await Promise.all(running.splice(0).map((dispatcher) => dispatcher.stop()));
  });
  afterAll(async () => {
    await database?.close();
    await drop();
    await rm(dir, { recursive: true, force: true });
  });

  test('transactions that fail before they begin or after their commit: each message leaves once, in order, without waiting for a lease', async () => {
    await fc.assert(
      fc.asyncProperty(
        faults,
        fc.array(fc.constantFrom('sent', 'refused', 'failedForNow', 'lostAfter'), { maxLength: 2 }),
        async (list, turns) => {
          world = createWorld();
          world.turns.push(...turns);
          const sessionId = await makeSession(database, accountId);
          const ids = await queue(database, sessionId, [0, 0, 1, 0, 1]);
          const dispatcher = startDispatcher({ database: faulty(database, list), world, times: { leaseMs: 600_000 } });
          try {
            await allAre(sessionId, 'sent');
          } finally {
            await dispatcher.stop();
          }
          expect([...leftOf(sessionId)].sort()).toEqual([...ids].sort());
          const ofChat = (chat: number): (string | undefined)[] => (chat === 0 ? [ids[0], ids[1], ids[3]] : [ids[2], ids[4]]);
          if (!turns.includes('failedForNow'))
            for (const chat of [0, 1].map(ofChat)) expect(leftOf(sessionId).filter((id) => chat.includes(id))).toEqual(chat);
          expect(world.mostAtOnce).toBe(1);
        },
      ),
      { numRuns: dialect === 'sqlite' ? 12 : 4, endOnFailure: true },
    );
  }, 120_000);

  test('a claim under our own name without work in this process is taken over at once; one with work is left alone', async () => {
    const presence = presenceOf('own-name');
    const sessionId = await makeSession(database, accountId);
    const [id] = await queue(database, sessionId, [0]);
    await update(
      `UPDATE messages SET status = 'sending', "leaseOwner" = ?, "leaseExpiresAt" = ?, epoch = 1, attempts = 1 WHERE id = ?`,
      ['own-name', Date.now() + 600_000, id],
    );
    start({ presence });
    await allAre(sessionId, 'sent');
    // A slow call: several polls run, and none of them repeats it.
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const calls: string[] = [];
    const deliver = world.transport.send;
    world.transport.send = async (session, message, isFirst) => {
      calls.push(message.id);
      await held;
      return deliver(session, message, isFirst);
    };
    const busy = await makeSession(database, accountId);
    const [slow] = await queue(database, busy, [0]);
    await eventually('the call', () => Promise.resolve(calls.length === 1));
    const other = await makeSession(database, accountId);
    // The poll that finds these has also looked at the claim.
    for (let polls = 0; polls < 3; polls += 1) {
      await queue(database, other, [polls]);
      await eventually('the poll', async () => (await statusesOf(database, other)) && calls.length >= 2);
    }
    expect(calls.filter((one) => one === slow)).toHaveLength(1);
    release();
    await allAre(busy, 'sent');
  });

  test('a lease further ahead than any lease is shortened; a living backend keeps its own', async () => {
    const sessionId = await makeSession(database, accountId);
    const [id] = await queue(database, sessionId, [0]);
    // Written by a backend that is still there, before its clock was set back by an hour.
    await update(
      `UPDATE messages SET status = 'sending', "leaseOwner" = 'other', "leaseExpiresAt" = ?, epoch = 1, attempts = 1 WHERE id = ?`,
      [Date.now() + 3_600_000, id],
    );
    start({ times: { leaseMs: 400 } });
    await eventually('a lease of our length', async () => {
      const row = await database.reader.getRepository(Message).findOneByOrFail({ id: id! });
      return row.status === 'sent' || row.leaseExpiresAt!.getTime() < Date.now() + 10_000;
    });
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId)).toEqual([id]);
  });

  test('a message whose claim always fails stops its own chat only, and is sent once it can be', async () => {
    const sessionId = await makeSession(database, accountId);
    const ids = await queue(database, sessionId, [0, 1, 0, 2, 1]);
    let isBroken = true;
    const log = recordingLog();
    start({
      log,
      state: (state) => ({
        ...state,
        move: (tx, message, ...rest) => {
          if (isBroken && message.id === ids[0]) throw new Error('This row is broken.');
          return state.move(tx, message, ...rest);
        },
      }),
    });
    await eventually('the others to leave', () => Promise.resolve(leftOf(sessionId).length === 3));
    expect(leftOf(sessionId)).toEqual([ids[1], ids[3], ids[4]]);
    expect(log.errors.some((line) => line.startsWith('A message could not be claimed'))).toBe(true);
    isBroken = false;
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId).slice(3)).toEqual([ids[0], ids[2]]);
  });

  test('rows that cannot be read stop their own chats only, wherever they are in the queue, and leave once they can', async () => {
    const sessionId = await makeSession(database, accountId);
    const ids = await queue(database, sessionId, [0, 1, 2, 0, 3, 1]);
    const whole = (await runStatement(database.reader, 'SELECT content FROM messages WHERE id = ?', [ids[0]])).rows as {
      content: string;
    }[];
    const setContent = (content: string) =>
      update(`UPDATE messages SET content = ? WHERE id IN (?, ?)`, [content, ids[0], ids[2]]);
    await setContent('{"type":');
    const reports: string[] = [];
    start({ report: ({ subject }) => void reports.push(subject) });
    await eventually('the others to leave', () => Promise.resolve(leftOf(sessionId).length === 3));
    expect(leftOf(sessionId)).toEqual([ids[1], ids[4], ids[5]]);
    expect(new Set(reports)).toEqual(new Set([ids[0], ids[2]]));
    await setContent(whole[0]!.content);
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId).filter((id) => id === ids[0] || id === ids[3])).toEqual([ids[0], ids[3]]);
  });

  test('a claim that cannot be taken over does not block its session, and is taken over once it can', async () => {
    const sessionId = await makeSession(database, accountId);
    const ids = await queue(database, sessionId, [0, 1, 0, 2]);
    const [row] = (await runStatement(database.reader, 'SELECT content FROM messages WHERE id = ?', [ids[0]])).rows as {
      content: string;
    }[];
    await update(
      `UPDATE messages SET status = 'sending', "leaseOwner" = 'dead', "leaseExpiresAt" = ?, epoch = 1, attempts = 1, content = '{' WHERE id = ?`,
      [Date.now() - 60_000, ids[0]],
    );
    start();
    await eventually('the others to leave', () => Promise.resolve(leftOf(sessionId).length === 2));
    expect(leftOf(sessionId)).toEqual([ids[1], ids[3]]);
    await update('UPDATE messages SET content = ? WHERE id = ?', [row!.content, ids[0]]);
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId).slice(2)).toEqual([ids[0], ids[2]]);
  });

  test('a claim of a session whose settings cannot be read is not called again, and is taken over once they can', async () => {
    const sessionId = await makeSession(database, accountId);
    const [id] = await queue(database, sessionId, [0]);
    const { settings } = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    const setSettings = (text: string) => update('UPDATE sessions SET settings = ? WHERE id = ?', [text, sessionId]);
    await setSettings('{');
    // So recent that the pace, which reads the settings, is not asked.
    await update(
      `UPDATE messages SET status = 'sending', "leaseOwner" = 'dead', "leaseExpiresAt" = ?, epoch = 1, attempts = 1 WHERE id = ?`,
      [Date.now() + 80_000, id],
    );
    const reports: string[] = [];
    const presence = presenceOf('survivor', (owners) => owners.filter((one) => one === 'dead'));
    start({ presence, report: ({ subject }) => void reports.push(subject) });
    await eventually('two attempts', () => Promise.resolve(reports.filter((one) => one === id).length >= 2));
    expect([leftOf(sessionId), await statusesBy(sessionId)]).toEqual([[], { [id!]: 'sending' }]);
    await setSettings(JSON.stringify(settings));
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId)).toEqual([id]);
  });

  test('fifty uncertain messages whose lookup fails, and unreadable rows, keep no other from being looked up or ended', async () => {
    const past = Date.now() - 60_000;
    const sessionId = await makeSession(database, accountId, {}, { connectedAt: new Date(past) });
    const ids = await queue(
      database,
      sessionId,
      Array.from({ length: 52 }, (_, chat) => chat),
    );
    await update(
      `UPDATE messages SET status = 'uncertain', "nextAttemptAt" = ?, "leaseExpiresAt" = ? WHERE "sessionId" = ? AND id <> ?`,
      [past, past, sessionId, ids[51]],
    );
    // The good ones come last; the last one waits in the queue, too late.
    const good = ids[50]!;
    const late = ids[51]!;
    await update('UPDATE messages SET "nextAttemptAt" = ? WHERE id = ?', [past + 30_000, good]);
    await update(`UPDATE messages SET content = '{' WHERE id IN (?, ?)`, [ids[0], ids[1]]);
    const away = await makeSession(database, accountId, {}, { status: 'disconnected' });
    const [broken] = await queue(database, away, [0]);
    await update(`UPDATE messages SET content = '{', "expiresAt" = ? WHERE id = ?`, [past - 1_000, broken]);
    await update('UPDATE messages SET "expiresAt" = ?, "nextAttemptAt" = NULL WHERE id = ?', [past, late]);
    const lookup = world.transport.lookup;
    world.transport.lookup = async (session, message) => {
      if (message.id !== good && message.id !== late) throw new Error('The page cannot tell.');
      return lookup(session, message);
    };
    const dispatcher = start();
    await eventually('the good one to be sent and the late one to be ended', async () => {
      const statuses = await statusesBy(sessionId);
      return statuses[good] === 'sent' && statuses[late] === 'failed';
    });
    await dispatcher.stop();
    await update('DELETE FROM messages WHERE "sessionId" IN (?, ?)', [sessionId, away]);
  });

  test('rows of the chat gap are deleted for each session, however its claims fall among those of the others', async () => {
    const sessions = await Promise.all(
      [0, 1, 2, 3].map(() => makeSession(database, accountId, { perMinute: 1_000, chatGapMs: 1 })),
    );
    for (const sessionId of sessions)
      await update('INSERT INTO paced_sends ("messageId", "sessionId", at, jitter) VALUES (?, ?, ?, 0)', [
        sessionId,
        sessionId,
        Date.now() - 86_400_000,
      ]);
    for (const sessionId of sessions) await queue(database, sessionId, [0]);
    start();
    for (const sessionId of sessions) await allAre(sessionId, 'sent');
    const { rows } = await runStatement(
      database.reader,
      'SELECT "messageId" FROM paced_sends WHERE "messageId" = "sessionId"',
      [],
    );
    expect(rows).toEqual([]);
  });

  test('a way out that throws for one message makes it uncertain, and those behind it leave', async () => {
    const sessionId = await makeSession(database, accountId);
    const ids = await queue(database, sessionId, [0, 1]);
    world.only.set(ids[0]!, 'throws');
    start();
    await eventually('the second to leave', () => Promise.resolve(leftOf(sessionId).includes(ids[1]!)));
    world.only.clear();
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId).filter((id) => id === ids[0])).toHaveLength(1);
  });

  test('an outcome that can never be written makes its message uncertain, and the session continues', async () => {
    const sessionId = await makeSession(database, accountId);
    const ids = await queue(database, sessionId, [0, 1]);
    let isBroken = true;
    const log = recordingLog();
    start({
      log,
      state: (state) => ({
        ...state,
        acknowledge: (tx, message, ...rest) => {
          if (isBroken && message.id === ids[0]) throw new Error('This event cannot be written.');
          return state.acknowledge(tx, message, ...rest);
        },
      }),
    });
    await eventually('the second to leave', () => Promise.resolve(leftOf(sessionId).includes(ids[1]!)));
    isBroken = false;
    await allAre(sessionId, 'sent');
    expect(leftOf(sessionId)).toEqual(ids);
  });

  test('uncertain messages of disconnected sessions are not looked up, and block no other message', async () => {
    const away = await makeSession(database, accountId, {}, { status: 'disconnected' });
    await queue(
      database,
      away,
      Array.from({ length: 120 }, (_, chat) => chat),
    );
    const past = Date.now() - 60_000;
    const makeUncertain = `UPDATE messages SET status = 'uncertain', "nextAttemptAt" = ?, "leaseExpiresAt" = ? WHERE "sessionId" = ?`;
    await update(makeUncertain, [past, past, away]);
    const here = await makeSession(database, accountId, {}, { connectedAt: new Date(past) });
    const [id] = await queue(database, here, [0]);
    await update(makeUncertain, [past + 30_000, past, here]);
    start();
    await allAre(here, 'sent');
    expect(new Set(world.lookups)).toEqual(new Set([id]));
    const rows = await database.reader.getRepository(Message).findBy({ sessionId: away });
    expect(new Set(rows.map((row) => row.nextAttemptAt?.getTime()))).toEqual(new Set([past]));
    await update('DELETE FROM messages WHERE "sessionId" = ?', [away]);
  });

  describe('two dispatchers', () => {
    test('one message of a session is in flight, each leaves once and in order', async () => {
      world.takesMs = 8;
      const [one, other] = [start(), start()];
      const sessions = await Promise.all([0, 1, 2].map(() => makeSession(database, accountId)));
      const wanted = new Map<string, string[]>();
      for (const id of sessions)
        wanted.set(
          id,
          await queue(
            database,
            id,
            Array.from({ length: 15 }, (_, n) => n % 3),
          ),
        );
      for (const id of sessions) {
        one.wake(id);
        other.wake(id);
      }
      for (const id of sessions) await allAre(id, 'sent');
      for (const id of sessions) expect(leftOf(id)).toEqual(wanted.get(id));
      expect(world.mostAtOnce).toBe(1);
    });

    test('the pace of a session applies across both of them and a restart, and has capacity again after the minute', async () => {
      const sessionId = await makeSession(database, accountId, { perMinute: 5 });
      const ids = await queue(
        database,
        sessionId,
        Array.from({ length: 14 }, (_, n) => n),
      );
      start();
      start();
      const waits = () =>
        eventually('the next one to say that it is paced', async () => {
          const rows = await database.reader.getRepository(Message).findBy({ sessionId, status: 'queued' });
          return rows.some(({ reasonCode }) => reasonCode === 'PACING');
        });
      await waits();
      expect(leftOf(sessionId)).toHaveLength(5);
      await Promise.all(running.splice(0).map((dispatcher) => dispatcher.stop()));
      // The next backend finds what was sent; another session shows that it has polled.
      start();
      start();
      const other = await makeSession(database, accountId);
      await queue(database, other, [0]);
      await allAre(other, 'sent');
      await queue(database, other, [1]);
      await allAre(other, 'sent');
      expect(leftOf(sessionId)).toHaveLength(5);
      // A minute later, as the stored times tell it. Waits until the outcomes of all that left are written: each dates its handover to now.
      const age = async (): Promise<void> => {
        await eventually('the outcome of each that left', async () => {
          const statuses = Object.values(await statusesOf(database, sessionId));
          return (
            statuses.filter((status) => status === 'sent').length === leftOf(sessionId).length && !statuses.includes('sending')
          );
        });
        const [row] = (await runStatement(database.reader, 'SELECT buckets FROM session_pace WHERE "sessionId" = ?', [sessionId]))
          .rows as { buckets: string }[];
        const older = (JSON.parse(row!.buckets) as [number, number][]).map(([at, count]) => [at - 61_000, count]);
        await update('UPDATE session_pace SET buckets = ? WHERE "sessionId" = ?', [JSON.stringify(older), sessionId]);
        for (const dispatcher of running) dispatcher.wake(sessionId);
      };
      await age();
      await eventually('five more', () => Promise.resolve(leftOf(sessionId).length === 10));
      await age();
      await allAre(sessionId, 'sent');
      expect(leftOf(sessionId)).toEqual(ids);
    }, 30_000);

    test('the gap between two messages to one chat applies across both of them; other chats do not wait for it', async () => {
      const chatGapMs = 1_200;
      const sessionId = await makeSession(database, accountId, { perMinute: 1_000, chatGapMs });
      await queue(database, sessionId, [0, 0, 1, 0]);
      start();
      start();
      await allAre(sessionId, 'sent');
      const byChat = new Map<string, number[]>();
      for (const { chatId, at } of world.left) byChat.set(chatId, [...(byChat.get(chatId) ?? []), at]);
      for (const times of byChat.values())
        for (const [index, at] of times.slice(1).entries())
          // Stored times are whole milliseconds.
          expect(at - times[index]!).toBeGreaterThanOrEqual(chatGapMs - 2);
      const chats = world.left.map(({ chatId }) => chatId);
      expect(chats[0]).not.toBe(chats[1]);
    });

    test('a claim that is taken over counts in the pace, and waits for it', async () => {
      const sessionId = await makeSession(database, accountId, { perMinute: 2 });
      const ids = await queue(database, sessionId, [0, 1, 2, 3]);
      // Its backend died long ago, before it made the call.
      await update(
        `UPDATE messages SET status = 'sending', "leaseOwner" = 'dead', "leaseExpiresAt" = ?, epoch = 1, attempts = 1 WHERE id = ?`,
        [Date.now() - 3_600_000, ids[0]],
      );
      start();
      await eventually('the pace', async () =>
        (await database.reader.getRepository(Message).findBy({ sessionId })).some(({ reasonCode }) => reasonCode === 'PACING'),
      );
      expect(leftOf(sessionId)).toEqual(ids.slice(0, 2));
    });
  });

  test('the pace finds its rows by an index, however much other sessions have sent', async () => {
    const sessionId = await makeSession(database, accountId, { perMinute: 30, chatGapMs: 1_000, jitterMs: 500 });
    const session = await database.reader.getRepository(Session).findOneByOrFail({ id: sessionId });
    const { readyChats } = await createPacing(Math.random).check(database.reader, session, Date.now());
    const sql = `SELECT id FROM messages WHERE status = 'queued' AND "sessionId" = ? AND "nextAttemptAt" IS NULL AND ${readyChats.condition}`;
    if (dialect === 'sqlite') {
      const { rows } = await runStatement(database.reader, `EXPLAIN QUERY PLAN ${sql}`, [sessionId, ...readyChats.parameters]);
      const plan = JSON.stringify(rows);
      expect(plan).toContain('paced_sends_recent (sessionId=? AND at>?)');
      expect(plan).not.toMatch(/SCAN (p|sent|messages)\b/);
    } else {
      const plan = await database.write.run(async (tx) => {
        await runStatement(tx.manager, 'SET LOCAL enable_seqscan = off', []);
        return JSON.stringify((await runStatement(tx.manager, `EXPLAIN ${sql}`, [sessionId, ...readyChats.parameters])).rows);
      });
      expect(plan).toContain('paced_sends_recent');
      expect(plan).not.toContain('Seq Scan');
    }
  });
});
