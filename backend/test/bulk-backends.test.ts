import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { BulkJob } from '../src/bulk/bulk.entity.js';
import { hasPostgres, startRig, type Rig } from './support/backend.js';
import { jobIs, jobOf, leftTo, peopleFor, requireTrueCounts, startJob } from './support/bulk.js';
import { quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Bulk jobs of two backends that share a database. */

let core: Core;
afterEach(() => core.close());

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

((await hasPostgres()) ? test : test.skip)(
  'of two calls with one Idempotency-Key on two backends one is accepted, the other one is 409, and its file is removed',
  async () => {
    core = await startCore({ database: 'postgres' });
    const { rig, sessionId } = core;
    const settings = { ...quick, WORKER_URLS: core.worker.url };
    const second: Rig = await startRig({ databaseUrl: rig.databaseUrl!, dataDir: rig.dataDir, settings });
    const other = new Client({ connectionString: rig.databaseUrl! });
    await other.connect();
    try {
      const gif = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
      const mediaId = ((await core.post('/media', { mediaBase64: gif })).body.data as { id: string }).id;
      const countFiles = async (): Promise<number> => {
        const found = await readdir(join(rig.dataDir, 'media'), { recursive: true, withFileTypes: true });
        return found.filter((entry) => entry.isFile()).length;
      };
      const before = await countFiles();
      const scheduledAt = new Date(Date.now() + 3_600_000).toISOString();
      const body = { type: 'image', mediaId, gapMs: [0, 0], recipients: peopleFor(2), scheduledAt };
      const headers = { 'Idempotency-Key': 'one job' };
      // Neither call finds a record of the other one: both wait for the session before they write.
      await other.query('BEGIN');
      await other.query('SELECT id FROM sessions WHERE id = $1 FOR UPDATE', [sessionId]);
      const calls = [rig, second].map((one) => one.call('POST', '/messages/bulk', { key: rig.apiKey, body, headers }));
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      await eventually(
        'both calls to wait',
        async () => (await rig.database.reader.query<unknown[]>(waiting)).length > 1,
        20_000,
      );
      await other.query('COMMIT');
      const answers = await Promise.all(calls);
      expect(answers.map((reply) => [reply.status, reply.body.error?.code]).sort()).toEqual([
        [202, undefined],
        [409, 'IDEMPOTENCY_IN_PROGRESS'],
      ]);
      expect(await rig.database.reader.getRepository(BulkJob).count()).toBe(1);
      // Of the job that was accepted.
      expect(await countFiles()).toBe(before + 1);
    } finally {
      await other.end();
      await second.close();
    }
  },
  60_000,
);
