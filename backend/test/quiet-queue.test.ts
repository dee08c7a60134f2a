import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { updateRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import { openDatabase, type Database } from '../src/db/database.js';
import type { Dispatcher } from '../src/messages/send/dispatcher.js';
import { Message } from '../src/messages/message.entity.js';
import type { Pacing } from '../src/messages/send/pacing.js';
import { sessionsSql } from '../src/messages/send/quiet.js';
import { dueSql } from '../src/messages/send/scheduled.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, migratedDatabase, type OwnDatabase } from './support/backend.js';
import { eventually } from './support/eventually.js';
import { createWorld, makeAccount, makeSession, queue, startDispatcher, type World } from './support/outbox.js';

/** A long queue in quiet hours, with two dispatchers as of two backends. */

const clockIn = (minutes: number): string => new Date(Date.now() + minutes * 60_000).toISOString().slice(11, 16);

describe.each(await databases())('a long queue in quiet hours on %s', (dialect) => {
  let dir: string;
  let own: OwnDatabase | null = null;
  let database: Database;
  let world: World;
  let sessionId: string;
  const running: Dispatcher[] = [];
  beforeAll(async () => {
    own = dialect === 'postgres' ? await migratedDatabase() : null;
    dir = await mkdtemp(join(tmpdir(), 'chasqui-quiet-queue-'));
    database = await openDatabase(own ? { url: own.url } : { file: join(dir, 'queue.sqlite') });
    world = createWorld();
    sessionId = await makeSession(database, await makeAccount(database));
  });
  afterAll(async () => {
    for (const dispatcher of running) await dispatcher.stop();
    await database?.close();
    await own?.drop();
    await rm(dir, { recursive: true, force: true });
  });

  const setQuiet = async (to: string | null, id = sessionId): Promise<void> => {
    const { settings } = await database.reader.getRepository(Session).findOneByOrFail({ id });
    const quietHours = to === null ? null : { from: clockIn(-60), to };
    await database.write.run((tx) => updateRows(tx, Session, { id }, { settings: { ...settings, timezone: 'UTC', quietHours } }));
  };
  const count = async (reasonCode: string | null): Promise<number> =>
    (await database.reader.getRepository(Message).findBy({ sessionId })).filter((one) => one.reasonCode === reasonCode).length;
  const leftIds = (): string[] => world.left.map(({ messageId }) => messageId);

  test('waits as a whole, lets urgent messages through, and is sent once when the hours end', async () => {
    await setQuiet(clockIn(120));
    const ids = await queue(
      database,
      sessionId,
      Array.from({ length: 1_300 }, (_, index) => index),
    );
    running.push(startDispatcher({ database, world }), startDispatcher({ database, world }));
    await eventually('all to wait', async () => (await count('QUIET_HOURS')) === ids.length);
    const [urgent] = await queue(database, sessionId, [5_000]);
    await database.write.run((tx) => updateRows(tx, Message, { id: urgent! }, { isUrgent: true, nextAttemptAt: null }));
    // It may have been held back before it was marked; its time is now in any case.
    await eventually('the urgent one to leave', async () => leftIds().includes(urgent!));
    expect(leftIds()).toEqual([urgent]);
    await setQuiet(null);
    await eventually('some to leave', async () => world.left.length > 50);
    await setQuiet(clockIn(120));
    await eventually('the rest to wait again', async () => {
      const before = world.left.length;
      await new Promise((resolve) => setTimeout(resolve, 150));
      return before === world.left.length;
    });
    const left = leftIds();
    expect(new Set(left).size).toBe(left.length);
    // In the order in which they were accepted.
    expect(left.slice(1)).toEqual(ids.slice(0, left.length - 1));
  });

  test('a message that was chosen just before quiet hours were set is not claimed in them', async () => {
    // The dispatchers of the test above could send it before quiet hours are set.
    for (const dispatcher of running.splice(0)) await dispatcher.stop();
    const quiet = await makeSession(database, await makeAccount(database));
    const [id] = await queue(database, quiet, [7_000]);
    let choices = 0;
    const pacing = (real: Pacing): Pacing => ({
      ...real,
      async check(where, session, nowMs) {
        const view = await real.check(where, session, nowMs);
        if (session.id === quiet && (choices += 1) === 1) await setQuiet(clockIn(120), quiet);
        return view;
      },
    });
    const dispatcher = startDispatcher({ database, world, pacing });
    running.push(dispatcher);
    dispatcher.wake(quiet);
    const stored = () => database.reader.getRepository(Message).findOneByOrFail({ id: id! });
    await eventually(
      'it to wait or to leave',
      async () => (await stored()).reasonCode === 'QUIET_HOURS' || leftIds().includes(id!),
    );
    expect(choices).toBeGreaterThan(0);
    expect([leftIds().includes(id!), (await stored()).status]).toEqual([false, 'queued']);
  });

  test('the queries of waiting and of scheduled messages read their own indexes', async () => {
    const due = `SELECT id FROM messages WHERE ${dueSql} ORDER BY "nextAttemptAt", id LIMIT 50`;
    const explained = async (sql: string, parameters: unknown[]): Promise<string> => {
      if (dialect === 'sqlite')
        return JSON.stringify((await runStatement(database.reader, `EXPLAIN QUERY PLAN ${sql}`, parameters)).rows);
      return database.write.run(async (tx) => {
        await runStatement(tx.manager, 'SET LOCAL enable_seqscan = off', []);
        return JSON.stringify((await runStatement(tx.manager, `EXPLAIN ${sql}`, parameters)).rows);
      });
    };
    const waiting = await explained(sessionsSql, []);
    expect(waiting).toContain('messages_quiet');
    expect(waiting).not.toMatch(/SCAN m\b|Seq Scan on messages/);
    const scheduled = await explained(due, [Date.now()]);
    expect(scheduled).toContain('messages_scheduled');
    expect(scheduled).not.toMatch(/TEMP B-TREE|"Sort|SCAN messages\b(?! USING)/);
  });
});
