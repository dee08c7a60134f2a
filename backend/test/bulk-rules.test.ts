import { afterEach, describe, expect, test } from '@jest/globals';
import type { Caller } from '../src/accounts/caller.js';
import { createJobContents } from '../src/bulk/accept/content.js';
import { BulkJob, BulkRecipient } from '../src/bulk/bulk.entity.js';
import { createBulkState } from '../src/bulk/state.js';
import { createBulkUpkeep } from '../src/bulk/upkeep.js';
import { createEvents } from '../src/events/events.js';
import { systemClock } from '../src/lib/clock.js';
import { createSealer } from '../src/lib/sealer.js';
import { createOptOuts } from '../src/opt-outs/opt-outs.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases, hasPostgres, startRig, type Rig } from './support/backend.js';
import { jobIs, jobOf, leftTo, peopleFor, phoneOfRow, requireTrueCounts, rowsOf, startJob } from './support/bulk.js';
import { dataOf, quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What a bulk job obeys: opt-outs, restrictions, other sends, erasures, retention, and a second backend. */

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

  test('a lock on new chats pauses the job, and a person resumes it', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: peopleFor(4), gapMs: [300, 300] });
    await eventually('the first message', async () => core.worker.left.length > 0);
    await core.worker.emit(core.sessionId, 'session.account', { reachOutLocked: true, linkedDevices: null });
    await jobIs(core, job.id, 'paused', 'REACH_OUT_LOCKED');
    const before = core.worker.left.length;
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    await jobIs(core, job.id, 'paused', 'REACH_OUT_LOCKED');
    expect(core.worker.left.length).toBeLessThanOrEqual(before + 1);
    await core.worker.emit(core.sessionId, 'session.account', { reachOutLocked: false, linkedDevices: null });
    await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    expect((await jobIs(core, job.id, 'completed')).counts).toMatchObject({ sent: 4 });
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

  test('a deleted session cancels its jobs', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: peopleFor(3), gapMs: [60_000, 60_000] });
    await eventually('the first message', async () => core.worker.left.length > 0);
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    const cancelled = await jobIs(core, job.id, 'cancelled', 'SESSION_DELETED');
    expect(cancelled.counts).toMatchObject({ pending: 0, cancelled: 2 });
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

async function optOut({ rig }: Core, waId: string): Promise<void> {
  const [session] = await rig.database.reader.getRepository(Session).find({ take: 1 });
  const { accountId } = session!;
  const contacts = { people: async () => () => null, stored: async () => [] };
  const core = { database: rig.database, events: createEvents({ clock: systemClock }), clock: systemClock };
  await createOptOuts(core, { contacts, sealer }).add(callerOf(accountId), [waId], 'api');
}

((await hasPostgres()) ? test : test.skip)(
  'two backends feed one job: no person gets it twice, and the gaps are kept',
  async () => {
    core = await startCore({ database: 'postgres' });
    const second: Rig = await startRig({
      databaseUrl: core.rig.databaseUrl!,
      settings: { ...quick, WORKER_URLS: core.worker.url },
    });
    try {
      const job = await startJob(core, { recipients: peopleFor(12), gapMs: [400, 400] });
      await jobIs(core, job.id, 'completed');
      expect([...leftTo(core).values()].map((texts) => texts.length)).toEqual(Array<number>(12).fill(1));
      await requireTrueCounts(core, job.id);
      const times = (await core.events('message.queued')).map(({ data }) => Date.parse(data['queuedAt'] as string)).sort();
      const gaps = times.slice(1).map((time, index) => time - times[index]!);
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(395);
      expect((await jobOf(core, job.id)).counts).toMatchObject({ total: 12, sent: 12 });
    } finally {
      await second.close();
    }
  },
  60_000,
);
