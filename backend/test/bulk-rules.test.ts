import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import { Account } from '../src/accounts/account.entity.js';
import type { Caller } from '../src/accounts/caller.js';
import { createJobContents } from '../src/bulk/accept/content.js';
import { BulkJob, BulkRecipient } from '../src/bulk/bulk.entity.js';
import { createBulkState } from '../src/bulk/state.js';
import { createBulkUpkeep } from '../src/bulk/upkeep.js';
import { updateRows } from '../src/db/rows.js';
import { createEvents } from '../src/events/events.js';
import { systemClock } from '../src/lib/clock.js';
import { createSealer } from '../src/lib/sealer.js';
import { Message } from '../src/messages/message.entity.js';
import { createOptOuts } from '../src/opt-outs/opt-outs.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { jobIs, jobOf, leftTo, peopleFor, phoneOfRow, requireTrueCounts, rowsOf, startJob } from './support/bulk.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import type { Left, Script } from './support/worker.js';

/** What a bulk job obeys: opt-outs, restrictions, other sends, erasures and retention. */

let core: Core;
afterEach(() => core.close());

const chatOf = (row: number): string => `${phoneOfRow(row).slice(1)}@c.us`;

describe.each(await databases())('the rules of bulk jobs on %s', (database) => {
  test('a single send overtakes the job that was there before it', async () => {
    core = await startCore({ database });
    core.worker.script({ do: 'send', afterMs: 400 });
    const job = await startJob(core, { recipients: peopleFor(6) });
    await eventually('the first message to be on its way', async () => core.worker.puts.length > 0);
    const singles = await Promise.all([1, 2, 3].map((n) => core.send(`single ${n}`, { async: true })));
    for (const single of singles) await core.reaches(dataOf(single).id, 'sent');
    await jobIs(core, job.id, 'completed');
    const order = core.worker.left.map(({ command }) => (command.content as { message: string }).message);
    const last = Math.max(...[1, 2, 3].map((n) => order.indexOf(`single ${n}`)));
    expect(last).toBeLessThanOrEqual(4);
    expect(order).toHaveLength(9);
  });

  test('people who opted out get nothing, also those who do so while the job runs', async () => {
    core = await startCore({ database, settings: { ENCRYPTION_KEYS: encryptionKeys } });
    await optOut(core, chatOf(1));
    const job = await startJob(core, { recipients: peopleFor(4), gapMs: [250, 250] });
    expect((await rowsOf(core, job.id))[1]).toMatchObject({ status: 'skipped', reason: { code: 'OPTED_OUT' } });
    await eventually('the first message', async () => core.worker.left.length > 0);
    await optOut(core, chatOf(3));
    const done = await jobIs(core, job.id, 'completed');
    expect(done.counts).toMatchObject({ sent: 2, skipped: 2 });
    expect([...leftTo(core).keys()]).toEqual([chatOf(0), chatOf(2)]);
    await requireTrueCounts(core, job.id);
  });

  test('a failed message that is retried after another phone was linked has the number of that phone as its sender', async () => {
    core = await startCore({ database });
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const job = await startJob(core, { recipients: peopleFor(1) });
    await jobIs(core, job.id, 'completed');
    const [row] = await rowsOf(core, job.id);
    const stored = () => core.rig.database.reader.getRepository(Message).findOneByOrFail({ id: row!.messageId! });
    const before = await stored();
    await relink(core, '+5511977712345');
    await core.post(`/messages/bulk/${job.id}/retry`, {});
    await jobIs(core, job.id, 'paused', 'SESSION_IDENTITY_CHANGED');
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    await jobIs(core, job.id, 'completed');
    expect(await stored()).toMatchObject({
      status: 'sent',
      fromId: '5511977712345@c.us',
      linkedAccountNumber: before.linkedAccountNumber + 1,
    });
  });

  test('quiet hours delay the job until their end', async () => {
    core = await startCore({ database });
    const clock = (minutes: number): string => new Date(Date.now() + minutes * 60_000).toISOString().slice(11, 16);
    const quietHours = { from: clock(-60), to: clock(60), timezone: 'UTC' };
    await core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { quietHours } } });
    const job = await startJob(core, { recipients: peopleFor(2) });
    const waiting = await jobIs(core, job.id, 'waiting', 'QUIET_HOURS');
    expect(waiting.waitingUntil!.slice(11, 16)).toBe(quietHours.to);
    expect(Date.parse(waiting.estimatedEndAt!)).toBeGreaterThanOrEqual(Date.parse(waiting.waitingUntil!));
    expect(core.worker.left).toEqual([]);
    await core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { quietHours: null } } });
    await jobIs(core, job.id, 'completed');
  });

  test('while the account is not active the job waits, and no message of it expires in the queue', async () => {
    core = await startCore({ database });
    const { write, reader } = core.rig.database;
    const setActive = (isActive: boolean) => write.run((tx) => updateRows(tx, Account, { isActive: !isActive }, { isActive }));
    const at = new Date(Date.now() + 86_400_000).toISOString();
    const job = await startJob(core, { recipients: peopleFor(2), scheduledAt: at });
    await setActive(false);
    await write.run((tx) => updateRows(tx, BulkJob, { id: job.id }, { scheduledAt: new Date() }));
    const stored = () => reader.getRepository(BulkJob).findOneByOrFail({ id: job.id });
    await eventually('the job to wait', async () => (await stored()).reasonCode === 'ACCOUNT_INACTIVE');
    expect(await stored()).toMatchObject({ status: 'waiting', pending: 2, queued: 0 });
    await setActive(true);
    await eventually('the job to be over', async () => (await stored()).status === 'completed');
    expect(core.worker.left).toHaveLength(2);
  });

  test('numbers that are not on WhatsApp are skipped when the job asks, and so is a second spelling of a person', async () => {
    core = await startCore({ database });
    const checked = (row: number, registered: boolean, as = row) => ({
      input: phoneOfRow(row),
      normalised: phoneOfRow(row),
      registered,
      contact: registered ? { id: chatOf(as), phone: phoneOfRow(as), lid: null, name: null } : null,
    });
    core.worker.answer.set('contacts.check', [checked(0, true), checked(1, false), checked(2, true, 0), checked(3, true)]);
    const job = await startJob(core, { recipients: peopleFor(4), checkNumbers: true });
    const done = await jobIs(core, job.id, 'completed');
    expect(done.counts).toMatchObject({ sent: 2, skipped: 2 });
    const reasons = (await rowsOf(core, job.id)).map(({ reason, status }) => reason?.code ?? status);
    expect(reasons).toEqual(['sent', 'RECIPIENT_NOT_ON_WHATSAPP', 'DUPLICATE', 'sent']);
    expect(core.worker.operations.filter(({ operation }) => operation === 'contacts.check')).toHaveLength(1);
  });

  test('an erased person gets no message, and nothing of them is left in the job; the counts stay', async () => {
    core = await startCore({ database });
    const at = new Date(Date.now() + 3_600_000).toISOString();
    const recipients = [...peopleFor(2), { recipient: phoneOfRow(2), variables: { name: `of ${chatOf(0)}` } }];
    recipients[2]!.variables.name = chatOf(0);
    const job = await startJob(core, { recipients, scheduledAt: at });
    const contact = phoneOfRow(0);
    const exported = await core.post('/privacy/exports', { contact });
    expect(exported.status).toBeLessThan(300);
    const { body } = await core.post('/privacy/erasures', { contact, confirm: contact });
    const { id } = body.data as { id: string };
    await eventually(
      'the erasure',
      async () => ((await core.get(`/privacy/erasures/${id}`)).body.data as { status: string }).status === 'done',
    );
    const [row] = await rowsOf(core, job.id);
    expect(row).toMatchObject({ recipient: null, contact: null, status: 'skipped', reason: { code: 'ERASED' } });
    const stored = JSON.stringify(await core.rig.database.reader.getRepository(BulkRecipient).find());
    expect(stored).not.toContain(phoneOfRow(0).slice(1));
    expect(stored).not.toContain('Person 0');
    await requireTrueCounts(core, job.id);
  });

  test('a scheduled job whose recipients were all erased ends at its time', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: peopleFor(1), scheduledAt: new Date(Date.now() + 3_600_000).toISOString() });
    const contact = phoneOfRow(0);
    const { id } = (await core.post('/privacy/erasures', { contact, confirm: contact })).body.data as { id: string };
    const erasure = async () => (await core.get(`/privacy/erasures/${id}`)).body.data as { status: string };
    await eventually('the erasure', async () => (await erasure()).status === 'done');
    expect(await jobOf(core, job.id)).toMatchObject({ status: 'scheduled', counts: { pending: 0, skipped: 1 } });
    const changes = { scheduledAt: new Date() };
    await core.rig.database.write.run((tx) => updateRows(tx, BulkJob, { id: job.id }, changes));
    // A session that connects looks at its jobs at once.
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    await core.worker.move(core.sessionId, 'connected', null);
    const done = await jobIs(core, job.id, 'completed');
    expect(done.finishedAt).not.toBeNull();
  });

  test('the counts are those of the recipients at every moment, whatever happens to the jobs, the phone and the messages', async () => {
    core = await startCore({ database, settings: { ENCRYPTION_KEYS: encryptionKeys } });
    core.worker.proves = false;
    const count = 16;
    const ids: string[] = [];
    for (const first of [0, count])
      ids.push((await startJob(core, { recipients: [...peopleFor(count, first), { recipient: 'nobody' }], gapMs: [0, 30] })).id);
    const watched = watchCounts(core);
    const scripts: Script[] = [
      { do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false },
      { do: 'uncertain' },
      { do: 'loseAfter' },
      { do: 'loseBefore' },
      { do: 'send' },
    ];
    const random = (below: number): number => Math.floor(Math.random() * below);
    const one = <T>(list: readonly T[]): T => list[random(list.length)]!;
    const call = (verb: string) => core.post(`/messages/bulk/${one(ids)}/${verb}`, {});
    const done: string[] = [];
    let phones = 0;
    const steps: Record<string, () => Promise<unknown>> = {
      pause: () => call('pause'),
      resume: () => call('resume'),
      retry: () => call('retry'),
      outcomes: async () => core.worker.script(...Array.from({ length: 4 }, () => one(scripts))),
      receipt: async () => {
        const left = core.worker.left[random(core.worker.left.length || 1)];
        if (left) await acknowledge(core, left, one([2, 3]));
      },
      settle: async () => {
        const [row] = await rowsOf(core, one(ids), '&status=uncertain');
        if (row) await core.post(`/messages/${row.messageId}/resolve`, { as: one(['sent', 'failed', 'retry']) });
      },
      optOut: () => optOut(core, chatOf(random(2 * count))),
      relink: () => relink(core, `+55119777${String((phones += 1)).padStart(5, '0')}`),
      decide: () => core.post(`/sessions/${core.sessionId}/held-messages`, { decision: one(['send', 'cancel']) }),
      wait: () => {
        const before = watched.reads();
        return eventually('some more reads', async () => watched.reads() > before + 3);
      },
    };
    // Each kind of step at least once, in an order that the seed decides.
    const order = [...Object.keys(steps), ...Array.from({ length: 20 }, () => one(Object.keys(steps)))];
    for (let last = order.length - 1; last > 0; last -= 1) {
      const other = random(last + 1);
      [order[last], order[other]] = [order[other]!, order[last]!];
    }
    for (const name of order) {
      done.push(name);
      await steps[name]!();
    }
    core.worker.scripts.length = 0;
    await core.post(`/messages/bulk/${ids[1]}/cancel`, {});
    const open = async (): Promise<number> => {
      await core.post(`/sessions/${core.sessionId}/held-messages`, { decision: 'send' });
      for (const id of ids) {
        await core.post(`/messages/bulk/${id}/resume`, {});
        for (const { messageId } of await rowsOf(core, id, '&status=uncertain'))
          await core.post(`/messages/${messageId}/resolve`, { as: 'sent' });
      }
      const jobs = await Promise.all(ids.map((id) => jobOf(core, id)));
      return jobs.reduce((sum, { counts }) => sum + counts.pending + counts.queued + counts.uncertain, 0);
    };
    await eventually(`both jobs to be over after ${done.join(' ')}`, async () => (await open()) === 0, 60_000);
    expect([done, await watched.stop()]).toEqual([done, []]);
    for (const id of ids) await requireTrueCounts(core, id);
    const events = (await core.events('bulk.status')).map(({ data }) => data['counts'] as Record<string, number>);
    for (const id of ids) {
      const last = (await core.events('bulk.status')).findLast(({ data }) => data['id'] === id)!;
      expect(last.data['counts']).toMatchObject({ pending: 0, queued: 0, uncertain: 0 });
    }
    for (const { total, ...states } of events) expect(Object.values(states).reduce((sum, value) => sum + value, 0)).toBe(total);
    expect([...leftTo(core).values()].filter((texts) => texts.length > 1)).toEqual([]);
    expect((await jobOf(core, ids[0]!)).status).toBe('completed');
  }, 120_000);

  test('a deleted session cancels its jobs', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: peopleFor(3), gapMs: [60_000, 60_000] });
    await eventually('the first message', async () => core.worker.left.length > 0);
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    const cancelled = await jobIs(core, job.id, 'cancelled', 'SESSION_DELETED');
    expect(cancelled.counts).toMatchObject({ pending: 0, cancelled: 2 });
  });

  test('a deleted session cancels its paused jobs too, and an event shows it', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: peopleFor(3), gapMs: [60_000, 60_000] });
    await eventually('the first message', async () => core.worker.left.length > 0);
    await core.post(`/messages/bulk/${job.id}/pause`, {});
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    const cancelled = await jobIs(core, job.id, 'cancelled', 'SESSION_DELETED');
    expect(cancelled.counts).toMatchObject({ pending: 0, cancelled: 2 });
    const last = (await core.events('bulk.status')).at(-1)!;
    expect(last.data).toMatchObject({ status: 'cancelled', reason: { code: 'SESSION_DELETED' }, counts: { cancelled: 2 } });
  });

  test('a job of a deleted session is not retried, and its failures stay as they are', async () => {
    core = await startCore({ database });
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const job = await startJob(core, { recipients: peopleFor(1) });
    await jobIs(core, job.id, 'completed');
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    const reply = await core.post(`/messages/bulk/${job.id}/retry`, {});
    expect([reply.status, reply.body.error]).toMatchObject([409, { details: { reason: 'SESSION_DELETED' } }]);
    expect(await jobOf(core, job.id)).toMatchObject({ status: 'completed', counts: { failed: 1 } });
    expect((await rowsOf(core, job.id))[0]).toMatchObject({ status: 'failed', reason: { code: 'CHAT_NOT_FOUND' } });
  });

  test('old jobs are deleted with their recipients and their file, and running ones are not', async () => {
    core = await startCore({ database });
    const gif = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
    const mediaId = ((await core.post('/media', { mediaBase64: gif })).body.data as { id: string }).id;
    const old = await startJob(core, { type: 'image', message: undefined, mediaId, recipients: peopleFor(1) });
    await jobIs(core, old.id, 'completed');
    const later = new Date(Date.now() + 3_600_000).toISOString();
    const young = await startJob(core, { recipients: peopleFor(1), scheduledAt: later });
    const repository = core.rig.database.reader;
    const { mediaId: shared } = await repository.getRepository(BulkJob).findOneByOrFail({ id: old.id });
    await core.rig.database.write.run(async (tx) => {
      await tx.manager.update(BulkJob, { id: old.id }, { finishedAt: new Date(Date.now() - 2 * 86_400_000) });
    });
    const { database: stored } = core.rig;
    const events = createEvents({ clock: systemClock });
    const removed: string[] = [];
    const media = { remove: async (_: unknown, ids: readonly string[]) => void removed.push(...ids) };
    const state = createBulkState({ events, clock: systemClock }, { media, maxFailedPercent: 0 });
    const upkeep = createBulkUpkeep(
      { database: stored, report: () => undefined },
      { state, media, contents: createJobContents(sealer) },
    );
    expect(await upkeep.prune(new Date(Date.now() - 86_400_000))).toBe(1);
    expect((await core.get(`/messages/bulk/${old.id}`)).status).toBe(404);
    expect(await repository.getRepository(BulkRecipient).countBy({ jobId: old.id })).toBe(0);
    expect(removed).toEqual([shared]);
    expect((await core.get(`/messages/bulk/${young.id}`)).status).toBe(200);
  });
});

/** The key of the rigs, so that a test can write what only they can read. */
const encryptionKeys = `k:${Buffer.alloc(32, 7).toString('base64')}`;
const sealer = createSealer(encryptionKeys);

const callerOf = (accountId: string): Caller => ({
  accountId,
  role: 'user',
  credential: { type: 'none', id: null, name: null },
  permissions: ['*'],
  sessionId: null,
  isPasswordLogin: false,
  requestId: '',
  ip: null,
});

const states = ['pending', 'queued', 'sent', 'delivered', 'read', 'failed', 'uncertain', 'skipped', 'cancelled'];

/** Reads the counts of all jobs beside those of their recipients, again and again, each time in one statement. */
function watchCounts({ rig }: Core): { reads: () => number; stop: () => Promise<string[]> } {
  const columns = states.flatMap((state) => [
    `"${state === 'read' ? 'readCount' : state}" AS "${state}"`,
    `(SELECT COUNT(*) FROM bulk_recipients r WHERE r."jobId" = j.id AND r.status = '${state}') AS "${state}Rows"`,
  ]);
  const faults: string[] = [];
  let reads = 0;
  let isOver = false;
  const read = async (): Promise<void> => {
    const jobs = (await rig.database.reader.query(`SELECT total, ${columns.join(', ')} FROM bulk_jobs j`)) as Record<
      string,
      unknown
    >[];
    for (const job of jobs) {
      const wrong = states.filter((state) => Number(job[state]) !== Number(job[`${state}Rows`]));
      const sum = states.reduce((value, state) => value + Number(job[state]), 0);
      if (wrong.length > 0 || sum !== job['total']) faults.push(JSON.stringify(job));
    }
    reads += 1;
  };
  const watching = (async () => {
    for (; !isOver; await sleep(10)) await read();
  })();
  return {
    reads: () => reads,
    async stop() {
      isOver = true;
      await watching;
      return faults;
    },
  };
}

const acknowledge = ({ worker, sessionId }: Core, { command }: Left, ack: number): Promise<void> =>
  worker.emit(sessionId, 'message.ack', {
    whatsappId: `true_${command.recipient}_${command.reservedId}`,
    key: command.reservedId,
    chat: { id: command.recipient, type: 'private', name: null },
    at: new Date().toISOString(),
    ack,
    participant: null,
  });

/** Unlinks the phone of the session and links another one. */
async function relink({ worker, sessionId, post }: Core, phone: string): Promise<void> {
  worker.sessions.get(sessionId)!.phoneNumber = null;
  await worker.move(sessionId, 'disconnected', 'LOGGED_OUT_BY_PHONE');
  await post('/sessions/init');
  await worker.link(sessionId, phone);
}

async function optOut({ rig }: Core, waId: string): Promise<void> {
  const [session] = await rig.database.reader.getRepository(Session).find({ take: 1 });
  const { accountId } = session!;
  const contacts = { people: async () => () => null, stored: async () => [] };
  const core = { database: rig.database, events: createEvents({ clock: systemClock }), clock: systemClock };
  await createOptOuts(core, { contacts, sealer }).add(callerOf(accountId), [waId], 'api');
}
