import { describe, expect, test } from '@jest/globals';
import { updateRows } from '../src/db/rows.js';
import { runStatement } from '../src/db/statement.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { createEvents } from '../src/events/events.js';
import { systemClock } from '../src/lib/clock.js';
import { Message } from '../src/messages/message.entity.js';
import { createQuotas } from '../src/messages/quotas/quotas.js';
import { createPostponedMessages } from '../src/messages/send/isolation.js';
import { createScheduledMessages } from '../src/messages/send/scheduled.js';
import { createMessageState } from '../src/messages/state.js';
import { databases } from './support/backend.js';
import { noContacts } from './support/contacts.js';
import { makeAccount, makeSession, queue, recordingLog } from './support/outbox.js';
import { closeAfterEach, openOwn } from './support/own-database.js';

/** A scheduled message that another backend, or a person, changes after a scan has found it and before the scan changes it. */

closeAfterEach();

const hour = 3_600_000;

describe.each(await databases())('a scheduled message that changes while a scan runs, on %s', (kind) => {
  /** Runs one scan over a message that was due `dueMs` ago. `change` is made in the transaction of the scan, before its own changes. */
  async function scan(dueMs: number, change: Partial<Message>) {
    const { opened: database } = await openOwn(kind);
    const clock = systemClock;
    const log = recordingLog();
    const events = createEvents({ clock });
    const quotas = createQuotas({ database, events, clock }, { defaultDaily: 10 });
    const sessionId = await makeSession(database, await makeAccount(database));
    const [id] = await queue(database, sessionId, [1]);
    const at = new Date(Date.now() - dueMs);
    const scheduled = { status: 'scheduled', scheduledAt: at, nextAttemptAt: at, queuedAt: null } as const;
    await database.write.run((tx) => updateRows(tx, Message, { id: id! }, scheduled));
    const parts = { contacts: noContacts, quotas, wipeFile: async () => undefined };
    const plain = createMessageState({ events, clock }, parts);
    let isChanged = false;
    const changeOnce = async (tx: Transaction): Promise<void> => {
      if (!isChanged) await updateRows(tx, Message, { id: id! }, change);
      isChanged = true;
    };
    const queueDue: typeof plain.queueDue = async (tx, ...given) => {
      await changeOnce(tx);
      return plain.queueDue(tx, ...given);
    };
    const move: typeof plain.move = async (tx, ...given) => {
      await changeOnce(tx);
      return plain.move(tx, ...given);
    };
    const state = { ...plain, queueDue, move };
    const postponed = createPostponedMessages({ database, clock, log, report: () => undefined });
    await createScheduledMessages({ database, clock, state, postponed, graceMs: hour }).run(() => false);
    expect([isChanged, log.errors]).toEqual([true, []]);
    const message = await database.reader.getRepository(Message).findOneByOrFail({ id: id! });
    const { rows } = await runStatement<{ type: string }>(database.reader, 'SELECT type FROM events', []);
    const used = await runStatement(database.reader, 'SELECT 1 FROM quota_usage WHERE taken > 0', []);
    return { message, events: rows.map(({ type }) => type), usedQuotas: used.rows.length };
  }
  const later = new Date(Date.now() + 24 * hour);
  const moved = { scheduledAt: later, nextAttemptAt: later };

  test.each([
    ['due', 1_000],
    ['missed', 2 * hour],
  ])('moved to another time when it is %s: it keeps that time', async (_what, dueMs) => {
    const { message, events, usedQuotas } = await scan(dueMs, moved);
    expect(message).toMatchObject({ status: 'scheduled', reasonCode: null, ...moved });
    expect([events, usedQuotas]).toEqual([[], 0]);
  });

  test.each([
    ['queued by another backend', { status: 'queued', queuedAt: new Date(1_000) }],
    ['cancelled', { status: 'cancelled', nextAttemptAt: null }],
  ] as [string, Partial<Message>][])('%s when it is due: no second event, and no quota is used', async (_what, change) => {
    const { message, events, usedQuotas } = await scan(1_000, change);
    expect(message).toMatchObject(change);
    expect([events, usedQuotas]).toEqual([[], 0]);
  });
});
