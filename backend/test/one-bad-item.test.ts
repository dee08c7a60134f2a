import { describe, expect, test } from '@jest/globals';
import { newId, type MessageResource, type OutletEvent } from '@chasqui/shared';
import fc from 'fast-check';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { EventCounter } from '../src/events/event.entity.js';
import { Failure } from '../src/failures/failure.entity.js';
import type { FailureReport } from '../src/failures/failures.js';
import { createApiKeys } from '../src/accounts/api-keys.js';
import { createThumbnails } from '../src/media/thumbnails.js';
import { createRetention } from '../src/jobs/retention.js';
import { Message } from '../src/messages/message.entity.js';
import { databases } from './support/backend.js';
import { ana, dataOf } from './support/core.js';
import { eventually } from './support/eventually.js';
import { refuseRows } from './support/faults.js';
import { coreOf } from './support/parts.js';
import { useFaultyCore } from './support/faulty-core.js';

/** One bad item stops only itself: a fault is injected at each position of each chain, and everything else must be done. */

/** Which items of a chain are bad. */
const patterns = (most: number) => fc.array(fc.boolean(), { minLength: 1, maxLength: most });
const day = 86_400_000;

describe.each(await databases())('one bad item on %s', (database) => {
  const it = useFaultyCore(database);
  let serial = 0;
  let second: string | undefined;
  /** A connected session beside that of the core. */
  const secondSession = async (): Promise<string> => {
    if (second) return second;
    second = ((await it.core.post('/sessions', { name: 'beside' })).body.data as { id: string }).id;
    await it.core.post(`/sessions/${second}/connect`, {});
    await it.core.worker.link(second);
    return second;
  };

  test('a worker event that cannot be stored, at any position of a batch, is refused and recorded alone', async () => {
    await it.refuse('INSERT', 'messages', `NEW.text LIKE 'BAD%'`);
    await fc.assert(
      fc.asyncProperty(patterns(6), async (bad) => {
        await it.forget();
        const name = `batch ${(serial += 1)}`;
        const batch = bad.map((isBad, index): OutletEvent =>
          it.core.worker.queue(it.core.sessionId, 'message.observed', {
            message: it.core.inbound(`${isBad ? 'BAD' : 'good'} ${name} ${index}`),
            origin: 'live',
          }),
        );
        const { ackCursor, refused } = await it.core.worker.post(batch);
        const badIds = batch.filter((_, index) => bad[index]).map(({ id }) => id);
        expect(ackCursor).toBe(batch.at(-1)!.cursor);
        expect(refused).toEqual(badIds.map((id) => ({ id, code: 'INTERNAL_ERROR' })));
        const stored = (await it.core.get(`/messages?search=${encodeURIComponent(name)}&order=asc&limit=50`)).body
          .data as MessageResource[];
        expect(stored.map(({ text }) => text)).toEqual(bad.flatMap((isBad, index) => (isBad ? [] : [`good ${name} ${index}`])));
        expect(await it.failures('worker_event')).toEqual([...badIds].sort());
        // Sent again, because its answer was lost, it is known and is not counted twice.
        expect(await it.core.worker.post(batch)).toMatchObject({ ackCursor, refused });
        expect((await it.core.rig.database.reader.getRepository(Failure).find()).every(({ count }) => count === 1)).toBe(true);
      }),
      { numRuns: 12 },
    );
    await it.core.worker.flush();
  });

  test('one batch that comes to several backends at once is stored once, and none of them fails', async () => {
    for (let round = 0; round < 5; round += 1) {
      const batch = [1, 2, 3].map((index) =>
        it.core.worker.queue(it.core.sessionId, 'message.observed', {
          message: it.core.inbound(`at once ${round} ${index}`),
          origin: 'live',
        }),
      );
      const answers = await Promise.all([1, 2, 3, 4].map(() => it.core.worker.post(batch)));
      for (const answer of answers) expect(answer).toEqual({ ackCursor: batch.at(-1)!.cursor, refused: [], resend: [] });
      expect((await it.core.get(`/messages?search=at%20once%20${round}`)).body.meta).toMatchObject({ total: 3 });
    }
    await it.core.worker.flush();
  });

  test('an event whose envelope fits no column does not block the batch', async () => {
    const good = it.core.worker.queue(it.core.sessionId, 'message.observed', {
      message: it.core.inbound('enveloped'),
      origin: 'live',
    });
    const broken = ['x'.repeat(80), 'a\0b'].map((id) => ({ ...good, id }));
    const far = { ...good, id: newId(), epoch: 2 ** 40 };
    const lost = { ...good, id: newId(), sessionId: 'a\0b' };
    const { refused } = await it.core.worker.post([...broken, far, lost, good]);
    expect(refused).toEqual([...broken, far, lost].map(({ id }) => ({ id, code: 'VALIDATION_FAILED' })));
    expect((await it.core.get('/messages?search=enveloped')).body.meta).toMatchObject({ total: 1 });
    expect(await it.failures('worker_event')).toHaveLength(4);
    await it.core.worker.flush();
  });

  test('a message that cannot be stored, at any position of a shared commit, fails alone', async () => {
    await it.refuse('INSERT', 'messages', `NEW.text LIKE 'BAD%'`);
    await it.core.worker.move(it.core.sessionId, 'connecting', 'RECONNECTING');
    await fc.assert(
      fc.asyncProperty(patterns(9), async (bad) => {
        await it.forget();
        const name = `shared ${(serial += 1)}`;
        const answers = await Promise.all(
          bad.map((isBad, index) =>
            it.core.send(`${isBad ? 'BAD' : 'good'} ${name} ${index}`, { async: true, queueIfOffline: true }),
          ),
        );
        expect(answers.map(({ status }) => status)).toEqual(bad.map((isBad) => (isBad ? 500 : 202)));
        const stored = (await it.core.get(`/messages?search=${encodeURIComponent(name)}&limit=50`)).body
          .data as MessageResource[];
        expect(stored.map(({ text }) => text).sort()).toEqual(
          bad.flatMap((isBad, index) => (isBad ? [] : [`good ${name} ${index}`])).sort(),
        );
        expect(await it.failures('accept')).toHaveLength(bad.filter(Boolean).length);
      }),
      { numRuns: 10 },
    );
    await it.core.worker.move(it.core.sessionId, 'connected', null);
  });

  test('a declared type with control characters is refused before it meets the database', async () => {
    for (const mimetype of ['text/x\0y', 'text/a b', 'text/', `text/${'x'.repeat(200)}`]) {
      const { status, body } = await it.core.post('/messages/send-media', {
        recipient: ana,
        mediaBase64: Buffer.from([1, 2, 3, 4]).toString('base64'),
        mimetype,
      });
      expect([status, ['FILE_TYPE_NOT_ALLOWED', 'VALIDATION_FAILED'].includes(body.error!.code)]).toEqual([422, true]);
    }
  });

  if (database === 'postgres')
    test('an event during which the database fails each time is set aside in the end, and keeps no session waiting until then', async () => {
      const other = await secondSession();
      it.heal = await refuseRows(it.core.rig.database, 'INSERT', 'messages', `NEW.text LIKE 'SLOW%'`, '57014');
      const arrival = (sessionId: string, text: string): OutletEvent =>
        it.core.worker.queue(sessionId, 'message.observed', { message: it.core.inbound(text), origin: 'live' });
      const slow = arrival(it.core.sessionId, 'SLOW one');
      const behind = arrival(it.core.sessionId, 'aside behind');
      const beside = arrival(other, 'aside beside');
      const batch = [slow, behind, beside];
      const texts = async (): Promise<(string | null)[]> =>
        ((await it.core.get('/messages?search=aside&order=asc&limit=50')).body.data as MessageResource[]).map(({ text }) => text);
      const attempt = (): Promise<boolean> =>
        it.core.worker.post(batch).then(
          () => true,
          () => false,
        );
      expect(await attempt()).toBe(false);
      expect(await attempt()).toBe(false);
      expect(await texts()).toEqual(['aside beside']);
      for (let times = 0; times < 4; times += 1) expect(await attempt()).toBe(false);
      expect(await it.failures('worker_event')).toEqual([]);
      it.aheadMs += 60_000;
      const { ackCursor, refused } = await it.core.worker.post(batch);
      expect([ackCursor, refused]).toEqual([beside.cursor, [{ id: slow.id, code: 'INTERNAL_ERROR' }]]);
      expect((await texts()).sort()).toEqual(['aside behind', 'aside beside']);
      expect(await it.failures('worker_event')).toEqual([slow.id]);
      await it.core.worker.flush();
    });

  if (database === 'postgres')
    test('two such events of two sessions are both set aside, and what was refused beside them stays refused in the reply', async () => {
      const other = await secondSession();
      it.heal = await refuseRows(it.core.rig.database, 'INSERT', 'messages', `NEW.text LIKE 'SLOW%'`, '57014');
      const arrival = (sessionId: string, text: string): OutletEvent =>
        it.core.worker.queue(sessionId, 'message.observed', { message: it.core.inbound(text), origin: 'live' });
      const slow = [arrival(it.core.sessionId, 'SLOW first'), arrival(other, 'SLOW second')];
      const behind = [arrival(it.core.sessionId, 'pair behind'), arrival(other, 'pair behind')];
      const lost = { ...behind[0]!, id: newId(), sessionId: newId(), cursor: behind[1]!.cursor + 1 };
      const batch = [...slow, ...behind, lost];
      for (let times = 0; times < 8; times += 1) {
        await it.core.worker.post(batch).catch(() => undefined);
        it.aheadMs += 60_000;
      }
      const { ackCursor, refused } = await it.core.worker.post(batch);
      expect(ackCursor).toBe(lost.cursor);
      expect(refused).toEqual([
        ...slow.map(({ id }) => ({ id, code: 'INTERNAL_ERROR' })),
        { id: lost.id, code: 'SESSION_NOT_FOUND' },
      ]);
      expect((await it.core.get('/messages?search=pair%20behind')).body.meta).toMatchObject({ total: 2 });
      expect(await it.failures('worker_event')).toEqual(slow.map(({ id }) => id).sort());
      await it.core.worker.flush();
    });

  if (database === 'postgres')
    test('a gap in a batch that the database did not take is not one that the worker was asked to fill', async () => {
      const sent = (text: string): OutletEvent =>
        it.core.worker.queue(it.core.sessionId, 'message.observed', { message: it.core.inbound(text), origin: 'live' });
      await it.core.worker.post([sent('gap before')]);
      const missing = sent('gap missing');
      const after = sent('gap after');
      const other = await secondSession();
      const slow = it.core.worker.queue(other, 'message.observed', { message: it.core.inbound('SLOW gap'), origin: 'live' });
      it.heal = await refuseRows(it.core.rig.database, 'INSERT', 'messages', `NEW.text LIKE 'SLOW%'`, '57014');
      for (let times = 0; times < 4; times += 1) await expect(it.core.worker.post([after, slow])).rejects.toThrow();
      await it.heal();
      it.heal = null;
      const resend = [{ sessionId: it.core.sessionId, fromSequence: missing.sequence }];
      expect((await it.core.worker.post([after, slow])).resend).toEqual(resend);
      expect((await it.core.worker.post([missing, after])).resend).toEqual([]);
      expect((await it.core.get('/messages?search=gap%20missing')).body.meta).toMatchObject({ total: 1 });
      await it.core.worker.flush();
    });

  if (database === 'postgres')
    test('a slow batch is committed in parts, in order and once, so that accepts continue between them', async () => {
      const run = (sql: string): Promise<unknown> => it.core.rig.database.write.run((tx) => tx.manager.query(sql));
      await run(
        `CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$`,
      );
      await run(
        `CREATE TRIGGER linger BEFORE INSERT ON messages FOR EACH ROW WHEN (NEW.text LIKE 'LINGER%') EXECUTE FUNCTION linger()`,
      );
      it.heal = async () => {
        await run('DROP TRIGGER linger ON messages');
        await run('DROP FUNCTION linger()');
      };
      const batch = Array.from({ length: 8 }, (_, index) =>
        it.core.worker.queue(it.core.sessionId, 'message.observed', {
          message: it.core.inbound(`LINGER ${index}`),
          origin: 'live',
        }),
      );
      const last = batch.at(-1)!.cursor;
      let parts = 0;
      for (let acked = 0; acked < last; parts += 1) {
        const { ackCursor, refused, resend } = await it.core.worker.post(batch.filter(({ cursor }) => cursor > acked));
        expect([ackCursor > acked, refused, resend]).toEqual([true, [], []]);
        acked = ackCursor;
      }
      expect(parts).toBeGreaterThan(1);
      const stored = (await it.core.get('/messages?search=LINGER&order=asc&limit=50')).body.data as MessageResource[];
      expect(stored.map(({ text }) => text)).toEqual(batch.map((_, index) => `LINGER ${index}`));
      await it.core.worker.flush();
    });

  test('an expired message that cannot be ended blocks no other', async () => {
    await it.core.worker.move(it.core.sessionId, 'connecting', 'RECONNECTING');
    const sent: MessageResource[] = [];
    for (const text of ['late 1', 'LATE BAD', 'late 2'])
      sent.push(dataOf(await it.core.send(text, { async: true, queueIfOffline: true })));
    await it.refuse('UPDATE', 'messages', `NEW.text = 'LATE BAD' AND NEW.status = 'failed'`);
    const ids = sent.map(({ id }) => id);
    await it.core.rig.database.write.run(async (tx) => {
      for (const [index, id] of [ids[1]!, ids[0]!, ids[2]!].entries())
        await updateRows(tx, Message, { id }, { expiresAt: new Date(Date.now() - 10_000 + index) });
    });
    await it.core.reaches(ids[0]!, 'failed');
    await it.core.reaches(ids[2]!, 'failed');
    expect((await it.core.message(ids[1]!)).status).toBe('queued');
    await eventually('the record', async () => (await it.failures('message')).includes(ids[1]!));
    await it.heal?.();
    it.heal = null;
    await it.core.post(`/messages/${ids[1]}/cancel`);
    await it.core.worker.move(it.core.sessionId, 'connected', null);
  });

  test('an expiring key that cannot be announced blocks no other notice', async () => {
    const names = ['ends 1', 'ENDS BAD', 'ends 2'];
    for (const name of names)
      await it.core.post('/keys', {
        name,
        permissions: ['messages.send'],
        expiresAt: new Date(Date.now() + 2 * day).toISOString(),
      });
    await it.refuse('UPDATE', 'api_keys', `NEW.name = 'ENDS BAD'`);
    const reports: FailureReport[] = [];
    const keys = createApiKeys(
      { ...coreOf(it.core.rig.database), report: (report) => void reports.push(report) },
      { rules: { maxPerSession: 10, expiryDays: 365, autoRotation: false, noticeDays: 7 } },
    );
    await keys.announceEnding();
    const noticed = await it.core.rig.database.reader.getRepository(ApiKey).find();
    expect(names.map((name) => noticed.find((key) => key.name === name)!.noticedAt !== null)).toEqual([true, false, true]);
    expect(reports.map(({ kind, subject }) => [kind, subject])).toEqual([
      ['key_notice', noticed.find(({ name }) => name === 'ENDS BAD')!.id],
    ]);
  });

  test('a row that cannot be deleted when its time is over keeps no other from being deleted', async () => {
    const reports: FailureReport[] = [];
    const retentionIn = (days: number) =>
      createRetention(
        {
          database: it.core.rig.database,
          clock: { now: () => new Date(Date.now() + days * day), monotonic: () => performance.now() },
          report: (report) => void reports.push(report),
        },
        {
          media: { remove: async () => undefined, expire: async () => undefined },
          thumbnails: createThumbnails(it.core.rig),
          days: { messages: 90, media: 30, events: 30 },
        },
      );
    const ids: string[] = [];
    for (const text of ['old 1', 'old 2', 'OLD BAD', 'old 3']) {
      const { id } = dataOf(await it.core.send(text));
      await it.core.reaches(id, 'sent');
      ids.push(id);
    }
    const before = await it.core.rig.database.reader.getRepository(Message).count();
    await it.refuse('DELETE', 'messages', `OLD.text = 'OLD BAD'`);
    const removed = await retentionIn(91).ofMessages();
    expect(reports).toEqual([expect.objectContaining({ kind: 'retention', subject: ids[2] })]);
    expect((await it.core.rig.database.reader.getRepository(Message).find()).map(({ id }) => id)).toEqual([ids[2]]);
    expect(removed).toBe(before - 1);
    await it.heal?.();
    expect(await retentionIn(91).ofMessages()).toBe(1);

    reports.length = 0;
    const all = await it.core.events();
    expect(all.length).toBeGreaterThan(5);
    const third = Number(((await it.core.get('/events?limit=3')).body.data as { cursor: string }[])[2]!.cursor);
    await it.refuse('DELETE', 'events', `OLD.cursor = ${third}`);
    await retentionIn(31).ofEvents();
    const left = await it.core.rig.database.write.run((tx) =>
      tx.manager.query<{ cursor: number | string }[]>('SELECT cursor FROM events'),
    );
    expect(left.map((event) => Number(event.cursor))).toEqual([third]);
    expect(reports).toEqual([expect.objectContaining({ kind: 'retention', subject: `event ${third}` })]);
    await it.heal?.();
    it.heal = null;
    await retentionIn(31).ofEvents();
    // The bound that readers are told is not lowered by the row that was deleted late.
    expect((await it.core.get('/events?after=0')).body.error?.code).toBe('CURSOR_EXPIRED');
  });

  test('of the erasure of a contact, a message that cannot be erased keeps no other, and the request says that it failed', async () => {
    const phone = '5511900001111';
    const ids: string[] = [];
    for (const text of ['erase 1', 'ERASE BAD', 'erase 2']) ids.push(dataOf(await it.core.send(text, { recipient: phone })).id);
    for (const id of ids) await it.core.reaches(id, 'sent');
    await it.refuse('UPDATE', 'messages', `OLD.text = 'ERASE BAD' AND NEW.text IS NULL`);
    const asked = (await it.core.post('/privacy/erasures', { contact: phone, confirm: phone })).body.data as { id: string };
    const status = () =>
      it.core.get(`/privacy/erasures/${asked.id}`).then(({ body }) => (body.data as { status: string }).status);
    await eventually('the erasure to end', async () => ['done', 'failed'].includes(await status()));
    expect(await status()).toBe('failed');
    const texts = await it.core.rig.database.reader.getRepository(Message).find();
    expect(ids.map((id) => texts.find((message) => message.id === id)!.text)).toEqual([null, 'ERASE BAD', null]);
    expect(await it.failures('privacy')).toContain(`${asked.id} ${ids[1]}`);
    await it.heal?.();
    it.heal = null;
    const again = (await it.core.post('/privacy/erasures', { contact: phone, confirm: phone })).body.data as { id: string };
    await eventually(
      'the second erasure',
      async () => ((await it.core.get(`/privacy/erasures/${again.id}`)).body.data as { status: string }).status === 'done',
    );
  });

  test('of the export of a contact, a message that cannot be read is counted as such, and the rest is there', async () => {
    const phone = '5511900002222';
    const ids: string[] = [];
    for (const text of ['export 1', 'export 2', 'export 3']) ids.push(dataOf(await it.core.send(text, { recipient: phone })).id);
    for (const id of ids) await it.core.reaches(id, 'sent');
    await it.core.rig.database.write.run((tx) => tx.manager.query(`UPDATE messages SET content = '{' WHERE id = '${ids[1]}'`));
    const asked = (await it.core.post('/privacy/exports', { contact: phone })).body.data as { id: string };
    const request = await eventually('the export to end', async () => {
      const { data } = (await it.core.get(`/privacy/exports/${asked.id}`)).body;
      return ['done', 'failed'].includes((data as { status: string }).status) && data;
    });
    expect(request).toMatchObject({ status: 'done', counts: { messages: 2, unreadable: 1 } });
    expect(await it.failures('privacy')).toContain(`${asked.id} ${ids[1]}`);
    await it.core.rig.database.write.run((tx) => tx.manager.query(`DELETE FROM messages WHERE id = '${ids[1]}'`));
  });

  test('a callback of a commit that throws neither fails the commit nor stops later ones', async () => {
    const { write } = it.core.rig.database;
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        write.run(async (tx) => {
          await insertRow(tx, EventCounter, { scope: `callback-${index}`, last: 1 });
          tx.afterCommit(() => {
            if (index % 2 === 0) throw new Error('bad callback');
          });
          return index;
        }),
      ),
    );
    expect(results).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await write.run(async () => 'goes on')).toBe('goes on');
  });
});
