import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import { databases } from './support/backend.js';
import { jobIs, peopleFor, requireTrueCounts, startJob } from './support/bulk.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What becomes of a bulk job whose account WhatsApp restricts. */

let core: Core;
afterEach(() => core.close());

describe.each(await databases())('bulk jobs of a restricted account on %s', (database) => {
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

  test.each<['terms_block' | 'temporary_ban' | 'challenge', string]>([
    ['terms_block', 'ACCOUNT_RESTRICTED'],
    ['temporary_ban', 'ACCOUNT_TEMPORARILY_BANNED'],
    ['challenge', 'ACCOUNT_CHALLENGED'],
  ])('the restriction %s pauses the job, and only a person resumes it after its end', async (kind, code) => {
    core = await startCore({ database });
    const observe = (reason: string | null) =>
      core.worker.emit(core.sessionId, 'session.observed', {
        ...{ status: reason === null ? 'connected' : 'connecting', until: null },
        reason: reason === null ? null : { code: reason, message: `Because of ${reason}.` },
        ...{ phoneNumber: '+5511988887777', lid: null, pushName: 'Shop', platform: 'android' },
        ...{ attempt: 0, whatsappWebVersion: null, compat: [] },
      });
    const job = await startJob(core, { recipients: peopleFor(4), gapMs: [300, 300] });
    await eventually('the first message', async () => core.worker.left.length > 0);
    await observe(code);
    const paused = await jobIs(core, job.id, 'paused', 'ACCOUNT_RESTRICTED');
    expect(paused.counts.sent).toBeLessThan(4);
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    await jobIs(core, job.id, 'paused', 'ACCOUNT_RESTRICTED');
    await observe(null);
    await eventually(`the end of ${kind}`, async () => {
      const { body } = await core.get(`/sessions/${core.sessionId}/health`);
      return (body.data as { restrictions: unknown[] }).restrictions.length === 0;
    });
    await sleep(400);
    await jobIs(core, job.id, 'paused', 'ACCOUNT_RESTRICTED');
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    // After a restriction the session sends more slowly, and a job sends nothing until that is over.
    const waiting = await jobIs(core, job.id, 'waiting', 'THROTTLED');
    expect(Date.parse(waiting.waitingUntil!)).toBeGreaterThan(Date.now());
    await core.rig.call('DELETE', `/sessions/${core.sessionId}/throttle`);
    expect((await jobIs(core, job.id, 'completed')).counts).toMatchObject({ sent: 4 });
    await requireTrueCounts(core, job.id);
  });
});
