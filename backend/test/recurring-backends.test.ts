import { expect, test } from '@jest/globals';
import type { ScheduleResource } from '@chasqui/shared';
import { updateRows } from '../src/db/rows.js';
import { Failure } from '../src/failures/failure.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { Schedule } from '../src/messages/recurring/schedule.entity.js';
import { hasPostgres, startRig } from './support/backend.js';
import { quick, startCore } from './support/core.js';
import { eventually } from './support/eventually.js';

/** Recurring schedules of two backends that share a database and both look for due ones every second. */

const minute = 60_000;
const schedules = 8;
const missed = 6;

((await hasPostgres()) ? test : test.skip)(
  'two backends make the due occurrences of all schedules: each once, in order, and each is sent once',
  async () => {
    const core = await startCore({ database: 'postgres' });
    const settings = { ...quick, WORKER_URLS: core.worker.url };
    const second = await startRig({ databaseUrl: core.rig.databaseUrl!, settings });
    try {
      const { reader, write } = core.rig.database;
      const ids: string[] = [];
      for (let n = 0; n < schedules; n += 1) {
        const message = { type: 'text', recipient: `55119999900${10 + n}`, message: `Number ${n}` };
        const reply = await core.post('/schedules', { name: `every minute ${n}`, cron: '* * * * *', timezone: 'UTC', message });
        ids.push((reply.body.data as ScheduleResource).id);
      }
      const now = Math.floor(Date.now() / minute) * minute;
      const first = new Date(now - missed * minute);
      // Due in one moment, for both backends.
      await write.run(async (tx) => {
        for (const id of ids) await updateRows(tx, Schedule, { id }, { nextAt: first });
      });
      const made = await eventually('all missed occurrences to be made and sent', async () => {
        const found = await reader.getRepository(Message).find({ order: { id: 'ASC' } });
        const sent = found.filter(({ status, occurrenceAt }) => status === 'sent' && occurrenceAt!.getTime() < now);
        return sent.length >= schedules * missed ? found : null;
      });
      for (const id of ids) {
        const times = made.filter(({ scheduleId }) => scheduleId === id).map(({ occurrenceAt }) => occurrenceAt!.getTime());
        expect(times.slice(0, missed)).toEqual(Array.from({ length: missed }, (_, n) => first.getTime() + n * minute));
        expect(new Set(times).size).toBe(times.length);
        await eventually('as many occurrences as messages', async () => {
          const { occurrences } = await reader.getRepository(Schedule).findOneByOrFail({ id });
          return occurrences === (await reader.getRepository(Message).countBy({ scheduleId: id }));
        });
      }
      const left = core.worker.left.map(({ messageId }) => messageId);
      expect(new Set(left).size).toBe(left.length);
      // The unique index of occurrences was not needed: both decide under the lock of the session.
      expect(await reader.getRepository(Failure).find()).toEqual([]);
    } finally {
      await second.close();
      await core.close();
    }
  },
  120_000,
);
