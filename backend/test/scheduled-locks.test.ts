import { expect, test } from '@jest/globals';
import { updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import { systemClock } from '../src/lib/clock.js';
import { Message } from '../src/messages/message.entity.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { createPostponedMessages } from '../src/messages/send/isolation.js';
import { createScheduledMessages } from '../src/messages/send/scheduled.js';
import { createMessageState } from '../src/messages/state.js';
import { noContacts } from './support/contacts.js';
import { eventually } from './support/eventually.js';
import { makeAccount, makeSession, queue, recordingLog } from './support/outbox.js';
import { client, closeAfterEach, describeOnPostgres, openOwn } from './support/own-database.js';

closeAfterEach();

const hour = 3_600_000;

describeOnPostgres('missed messages', () => {
  test('of two sessions fail while a claim of the second one waits for the event log: no transaction is ended by a deadlock', async () => {
    const { opened: database, url } = await openOwn('postgres');
    const clock = systemClock;
    const log = recordingLog();
    const events = createEvents({ clock });
    const quotas = createQuotas({ database, events, clock }, { defaultDaily: 0 });
    const accountId = await makeAccount(database);
    const sessionIds = [await makeSession(database, accountId), await makeSession(database, accountId)];
    const ids: string[] = [];
    for (const [index, sessionId] of sessionIds.entries()) {
      const [id] = await queue(database, sessionId, [index]);
      const at = new Date(Date.now() - 2 * hour + index * 1_000);
      const missed = { status: 'scheduled', scheduledAt: at, nextAttemptAt: at, queuedAt: null } as const;
      await database.write.run((tx) => updateRows(tx, Message, { id: id! }, missed));
      ids.push(id!);
    }
    // Locks what the claim of a message locks, in the same order.
    const claim = await client(url);
    const watch = await client(url);
    const claims: Promise<unknown>[] = [];
    const beginClaim = async (): Promise<unknown> => {
      await claim.query('BEGIN');
      await claim.query('SELECT id FROM sessions WHERE id = $1 FOR UPDATE', [sessionIds[1]]);
      await claim.query(`SELECT last FROM event_counters WHERE scope = 'log' FOR UPDATE`);
      return claim.query('COMMIT');
    };
    const sql = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
    const parts = { contacts: noContacts, quotas, wipeFile: async () => undefined };
    const plain = createMessageState({ events, clock }, parts);
    let moves = 0;
    const move: typeof plain.move = async (...given) => {
      const isMoved = await plain.move(...given);
      moves += 1;
      if (claims.length > 0) return isMoved;
      const claimed = beginClaim();
      claimed.catch(() => undefined);
      claims.push(claimed);
      await eventually('the claim to wait for a lock', async () => (await watch.query(sql)).rows.length > 0, 20_000);
      return isMoved;
    };
    const state = { ...plain, move };
    const postponed = createPostponedMessages({ database, clock, log, report: () => undefined });
    await createScheduledMessages({ database, clock, state, postponed, graceMs: hour }).run(() => false);
    await Promise.all(claims);
    const rows = await database.reader.getRepository(Message).find();
    expect(rows.map(({ status, reasonCode }) => [status, reasonCode])).toEqual(ids.map(() => ['failed', 'MISSED']));
    expect([moves, log.errors]).toEqual([2, []]);
  });
});
