/* eslint-disable max-lines -- one rig, and one block for each rule of a schedule */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource, ScheduleResource } from '@chasqui/shared';
import fc from 'fast-check';
import { AuditLog } from '../src/audit/audit.entity.js';
import { lockRows, updateRows } from '../src/db/rows.js';
import type { Transaction } from '../src/db/unit-of-work.js';
import { Message } from '../src/messages/message.entity.js';
import { cronTimes, timesAfter } from '../src/lib/cron.js';
import { wallTimeOf, type WallTime } from '../src/lib/wall-time.js';
import { stepOf } from '../src/messages/recurring/occurrences.js';
import { Schedule } from '../src/messages/recurring/schedule.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { makeAccount } from './support/account.js';
import { databases, hasPostgres, migratedDatabase, startRig, type Reply } from './support/backend.js';
import { ana, quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const minute = 60_000;
const day = 24 * 60 * minute;
const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const scheduleOf = ({ body }: Reply): ScheduleResource => body.data as ScheduleResource;
const fieldOf = ({ body }: Reply): unknown => (body.error?.details['fields'] as { code: string }[] | undefined)?.[0]?.code;

describe('times of cron', () => {
  const nextOf = (cron: string, zone: string, at: string): string | undefined =>
    cronTimes(cron, zone).after(new Date(at))?.toISOString();

  test('a time of day that clocks skip occurs at the change, and one that occurs twice only once', () => {
    // Berlin: 02:00 → 03:00 on March 29, 03:00 → 02:00 on October 25.
    expect(nextOf('30 2 * * *', 'Europe/Berlin', '2026-03-28T12:00:00Z')).toBe('2026-03-29T01:00:00.000Z');
    expect(nextOf('30 2 * * *', 'Europe/Berlin', '2026-03-29T01:00:00Z')).toBe('2026-03-30T00:30:00.000Z');
    expect(nextOf('30 2 * * *', 'Europe/Berlin', '2026-10-24T12:00:00Z')).toBe('2026-10-25T00:30:00.000Z');
    expect(nextOf('30 2 * * *', 'Europe/Berlin', '2026-10-25T00:30:00Z')).toBe('2026-10-26T01:30:00.000Z');
    expect(nextOf('30 2,14 * * *', 'Europe/Berlin', '2026-10-25T00:30:00Z')).toBe('2026-10-25T13:30:00.000Z');
    expect(nextOf('0 9 * * 1', 'America/Lima', '2026-05-01T00:00:00Z')).toBe('2026-05-04T14:00:00.000Z');
  });

  test('a time of day occurs once on each day, when the clock first shows it or is set over it, whatever zone and change', () => {
    // Changes at one, two and three o'clock, at midnight, right before midnight, and of half an hour.
    const changes = [
      ['Europe/Berlin', '2026-03-29', '2026-10-25'],
      ['America/New_York', '2026-03-08', '2026-11-01'],
      ['America/Nuuk', '2026-03-28', '2026-10-24'],
      ['America/Santiago', '2026-09-06', '2026-04-04'],
      ['America/Havana', '2026-03-08', '2026-11-01'],
      ['Asia/Beirut', '2026-03-29', '2026-10-25'],
      ['Africa/Cairo', '2026-04-24', '2026-10-29'],
      ['Atlantic/Azores', '2026-03-29', '2026-10-25'],
      ['Australia/Lord_Howe', '2026-10-04', '2026-04-05'],
      ['Asia/Kathmandu', '2026-06-01', '2026-06-02'],
    ] as const;
    const dateOf = (wall: WallTime): number => Date.UTC(wall.year, wall.month - 1, wall.day, wall.hour, wall.minute);
    const read = new Map<string, { at: number; shown: number }[]>();
    /** What the clock shows in each minute around a date. */
    const minutesAround = (zone: string, date: string): { at: number; shown: number }[] => {
      const known = read.get(zone + date);
      if (known) return known;
      const times = Array.from({ length: 7 * 24 * 60 }, (_, index) => Date.parse(date) - 3 * day + index * minute);
      const minutes = times.map((at) => ({ at, shown: dateOf(wallTimeOf(new Date(at), zone)) }));
      read.set(zone + date, minutes);
      return minutes;
    };
    const near = fc.constantFrom(...changes).chain(([zone, ...days]) => fc.tuple(fc.constant(zone), fc.constantFrom(...days)));
    fc.assert(
      fc.property(near, fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }), ([zone, date], hours, minutes) => {
        const expected: string[] = [];
        let target = Date.parse(date) - 2 * day + hours * 60 * minute + minutes * minute;
        for (const { at, shown } of minutesAround(zone, date)) {
          if (shown < target) continue;
          expected.push(new Date(at).toISOString());
          target += day;
        }
        const from = new Date(Date.parse(expected[0]!) - 1);
        const until = new Date(Date.parse(expected.at(-1)!) + 1);
        const found = timesAfter(cronTimes(`${minutes} ${hours} * * *`, zone), from, 20, until);
        expect([zone, date, found.map((at) => at.toISOString())]).toEqual([zone, date, expected]);
      }),
      { numRuns: 300 },
    );
    expect(nextOf('30 23 * * *', 'America/Nuuk', '2026-03-28T12:00:00Z')).toBe('2026-03-29T01:00:00.000Z');
  });

  test('fields with * or a step follow the clock: a skipped time does not occur, and a repeated one occurs twice', () => {
    const changes = [
      ['Europe/Lisbon', '2026-03-29', '2026-10-25'],
      ['America/New_York', '2026-03-08', '2026-11-01'],
      ['America/Santiago', '2026-09-06', '2026-04-05'],
      ['America/Havana', '2026-03-08', '2026-11-01'],
      ['Africa/Casablanca', '2026-02-15', '2026-03-22'],
      ['Africa/Cairo', '2026-04-24', '2026-10-30'],
      ['Australia/Lord_Howe', '2026-10-04', '2026-04-05'],
      ['Pacific/Chatham', '2026-09-27', '2026-04-05'],
      ['Antarctica/Troll', '2026-03-29', '2026-10-25'],
      ['America/Sao_Paulo', '2026-02-15', '2026-11-01'],
      ['Asia/Kathmandu', '2026-06-01', '2026-06-02'],
    ] as const;
    const steps = fc.record({
      minutes: fc.constantFrom('*', '*/15', '*/20', '*/7', '0', '30', '5,35'),
      hours: fc.constantFrom('*', '*/2', '*/3', '1-23/2'),
    });
    const near = fc.constantFrom(...changes).chain(([zone, ...days]) => fc.tuple(fc.constant(zone), fc.constantFrom(...days)));
    fc.assert(
      fc.property(near, steps, ([zone, date], { minutes, hours }) => {
        const isIn = (field: string, value: number): boolean => {
          const [range, step = 1] = [field.split('/')[0]!, Number(field.split('/')[1] ?? 1)];
          if (range === '*') return value % step === 0;
          if (range === '1-23') return value >= 1 && (value - 1) % step === 0;
          return field.split(',').map(Number).includes(value);
        };
        const first = Date.parse(date) - day;
        const times = Array.from({ length: 3 * 24 * 60 }, (_, index) => new Date(first + index * minute));
        const expected = times.filter((at) => {
          const wall = wallTimeOf(at, zone);
          return isIn(minutes, wall.minute) && isIn(hours, wall.hour);
        });
        const cron = `${minutes} ${hours} * * *`;
        const found = timesAfter(cronTimes(cron, zone), new Date(first - 1), 10_000, new Date(first + 3 * day));
        const isoOf = (all: readonly Date[]): string[] => all.map((at) => at.toISOString());
        expect([zone, cron, isoOf(found)]).toEqual([zone, cron, isoOf(expected)]);
      }),
      { numRuns: 20 },
    );
  });

  test('only five fields are accepted', () => {
    for (const wrong of ['* * * *', '* * * * * *', '60 * * * *', '@daily', 'every day', '* * * * 8'])
      expect(() => cronTimes(wrong, 'UTC')).toThrow();
  });
});

describe('steps of a schedule', () => {
  const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu'];
  const crons = ['* * * * *', '*/7 * * * *', '0 * * * *', '30 2 * * *', '0 9 * * 1-5', '15 1,13 1 * *'];
  const start = Date.parse('2026-10-24T00:00:00Z');

  test('pass each occurrence once and in order, give a message to each that is not missed, and end where the schedule does', () => {
    const schedule = fc.record({
      cron: fc.constantFrom(...crons),
      timezone: fc.constantFrom(...zones),
      endsAt: fc.option(fc.integer({ min: 1, max: 40 * 24 * 60 }).map((minutes) => new Date(start + minutes * minute))),
      maxOccurrences: fc.option(fc.integer({ min: 1, max: 50 })),
    });
    const pauses = fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(schedule, pauses, fc.integer({ min: 1, max: 180 }), (fields, minutes, graceMinutes) => {
        const times = cronTimes(fields.cron, fields.timezone);
        const expected: Date[] = [];
        let now = start;
        const last = start + minutes.reduce((sum, pause) => sum + pause, 0) * minute;
        for (let at = times.after(new Date(start)); at && at.getTime() <= last; at = times.after(at)) {
          if (fields.endsAt && at >= fields.endsAt) break;
          if (fields.maxOccurrences !== null && expected.length === fields.maxOccurrences) break;
          expected.push(at);
        }
        const first = times.after(new Date(start));
        let next: Date | null = first && (!fields.endsAt || first < fields.endsAt) ? first : null;
        let [occurrences, missed] = [0, 0];
        const made: { at: Date; now: number }[] = [];
        for (const pause of minutes) {
          now += pause * minute;
          while (next && next.getTime() <= now) {
            const step = stepOf({ ...fields, occurrences }, next, new Date(now), graceMinutes * minute);
            if (step.at) made.push({ at: step.at, now });
            occurrences += step.passed;
            missed += step.missed;
            next = step.next;
          }
        }
        expect(occurrences).toBe(expected.length);
        const madeTimes = made.map(({ at }) => at.getTime());
        expect(new Set(madeTimes).size).toBe(madeTimes.length);
        expect(madeTimes).toEqual([...madeTimes].sort((one, other) => one - other));
        const known = new Set(expected.map((at) => at.getTime()));
        expect(madeTimes.filter((at) => !known.has(at))).toEqual([]);
        const late = made.filter(({ at, now: then }) => then - at.getTime() > graceMinutes * minute);
        expect(made.length - late.length).toBe(expected.length - missed);
        expect(late.length).toBeLessThanOrEqual(missed);
        if (missed > 0) expect(late.length).toBeGreaterThan(0);
      }),
      { numRuns: 60 },
    );
  });
});

describe.each(await databases())('recurring schedules on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const yearly = { name: 'New Year', cron: '0 0 1 1 *' };
  const message = { type: 'text', recipient: ana, message: 'Happy New Year' };
  const create = async (more: Record<string, unknown> = {}): Promise<ScheduleResource> => {
    const reply = await core.post('/schedules', { ...yearly, message, ...more });
    expect([reply.status, reply.body.error]).toEqual([201, undefined]);
    return scheduleOf(reply);
  };
  const read = async (id: string) => scheduleOf(await core.get(`/schedules/${id}`));
  const put = (id: string, body: object) => core.rig.call('PUT', `/schedules/${id}`, { body });
  /** Makes the next occurrence due so long ago. */
  const due = (id: string, agoMs = 1_000) => {
    const nextAt = new Date(Date.now() - agoMs);
    return core.rig.database.write.run((tx) => updateRows(tx, Schedule, { id }, { nextAt })).then(() => nextAt);
  };
  const messagesOf = (scheduleId: string) => core.rig.database.reader.getRepository(Message).findBy({ scheduleId });
  const made = (id: string, count = 1) =>
    eventually(`${count} messages of ${id}`, async () => {
      const messages = await messagesOf(id);
      return messages.length >= count ? messages : null;
    });
  const leftOf = (id: string) => core.worker.left.filter(({ messageId }) => messageId === id);

  test('a schedule shows its next five dates, and each occurrence is an ordinary message', async () => {
    const created = await create({ timezone: 'America/Lima' });
    expect(created).toMatchObject({ status: 'active', reason: null, occurrences: 0, missed: 0, timezone: 'America/Lima' });
    expect(created).toMatchObject({ type: 'text', recipient: `${ana}@c.us`, content: { message: 'Happy New Year' } });
    const year = new Date().getUTCFullYear() + 1;
    expect(created.next).toEqual([0, 1, 2, 3, 4].map((ahead) => `${year + ahead}-01-01T05:00:00.000Z`));
    const at = await due(created.id);
    const [row] = await made(created.id);
    const sent = await core.reaches(row!.id, 'sent');
    expect(sent).toMatchObject({ scheduleId: created.id, scheduledAt: at.toISOString(), origin: 'api', text: 'Happy New Year' });
    expect((await core.events('message.*')).filter(({ data }) => data['id'] === sent.id).map(({ type }) => type)).toEqual(
      ['scheduled', 'queued', 'sending', 'sent'].map((status) => `message.${status}`),
    );
    expect(leftOf(sent.id)).toHaveLength(1);
    expect(await read(created.id)).toMatchObject({ occurrences: 1, lastAt: at.toISOString(), next: created.next });
  });

  const createTemplate = async (name: string, type: string, content: object): Promise<string> =>
    ((await core.post('/templates', { name, type, content })).body.data as { id: string }).id;

  test('each occurrence of a template is filled with its variables, from the version that the schedule keeps', async () => {
    const templateId = await createTemplate('weekly', 'text', { message: 'Hello {{name}}, {{amount|number}} points' });
    const filled = { type: 'template', recipient: ana, templateId, variables: { name: 'Ana', amount: 1234.5 } };
    const created = await create({ message: filled });
    expect(created).toMatchObject({ type: 'text', template: { id: templateId, version: 1 } });
    expect(created.content).toEqual({ message: 'Hello Ana, 1,234.5 points' });
    const changed = await core.rig.call('PUT', `/templates/${templateId}`, { body: { content: { message: 'Bye' } } });
    expect(changed.status).toBe(200);
    // What it said when it was made is not what counts: the account may speak another language since.
    const stored = await core.rig.database.reader.getRepository(Schedule).findOneByOrFail({ id: created.id });
    const stale = { ...stored.message!, content: { type: 'text' as const, message: 'stale' } };
    await core.rig.database.write.run((tx) => updateRows(tx, Schedule, { id: created.id }, { message: stale }));
    await due(created.id);
    const [row] = await made(created.id);
    expect(await core.reaches(row!.id, 'sent')).toMatchObject({ text: 'Hello Ana, 1,234.5 points', templateId });
  });

  test('a template that cannot be filled or does not exist is refused, and one that is deleted later pauses its schedules', async () => {
    const templateId = await createTemplate('gone', 'text', { message: 'Hello {{name}}' });
    const filled = { type: 'template', recipient: ana, templateId };
    expect((await core.post('/schedules', { ...yearly, message: filled })).body.error?.code).toBe('MISSING_VARIABLE');
    const unknown = { ...filled, templateId: 'none', variables: { name: 'Ana' } };
    expect((await core.post('/schedules', { ...yearly, message: unknown })).body.error?.code).toBe('TEMPLATE_NOT_FOUND');
    const { id } = await create({ message: { ...filled, variables: { name: 'Ana' } } });
    await core.rig.call('DELETE', `/templates/${templateId}`);
    await due(id);
    const paused = await eventually('the schedule to pause', async () => {
      const schedule = await read(id);
      return schedule.status === 'paused' ? schedule : null;
    });
    expect(paused).toMatchObject({ reason: { code: 'TEMPLATE_DELETED' }, occurrences: 0 });
    expect(await messagesOf(id)).toEqual([]);
    await put(id, { message });
    expect(scheduleOf(await core.post(`/schedules/${id}/resume`, {}))).toMatchObject({ status: 'active', template: null });
  });

  test('the file of a template goes with each occurrence, under a caption that is filled', async () => {
    const { body } = await core.post('/media', { mediaBase64: picture, filename: 'dot.png' });
    const templateId = await createTemplate('poster', 'image', {
      mediaId: (body.data as { id: string }).id,
      caption: 'For {{name}}',
    });
    const filled = { type: 'template', recipient: ana, templateId, variables: { name: 'Ana' } };
    const { id } = await create({ message: filled });
    for (const count of [1, 2]) {
      await due(id);
      for (const { id: messageId } of await made(id, count))
        expect(await core.reaches(messageId, 'sent')).toMatchObject({ type: 'image', text: 'For Ana', templateId });
    }
  });

  test('it is listed, changed, paused, resumed and deleted, and each change is in the audit log', async () => {
    const { id } = await create();
    const changed = scheduleOf(await put(id, { name: 'Daily', cron: '30 10 * * *', timezone: 'Asia/Tokyo' }));
    expect(changed).toMatchObject({ name: 'Daily', status: 'active' });
    expect(changed.next.every((at) => at.endsWith('T01:30:00.000Z'))).toBe(true);
    const other = { type: 'location', recipient: ana, latitude: 1, longitude: 2 };
    expect(scheduleOf(await put(id, { message: other }))).toMatchObject({
      type: 'location',
      content: { latitude: 1 },
      next: changed.next,
    });
    expect(scheduleOf(await core.post(`/schedules/${id}/pause`, {}))).toMatchObject({ status: 'paused', next: [] });
    expect(scheduleOf(await core.post(`/schedules/${id}/pause`, {})).status).toBe('paused');
    const list = async (query = '') =>
      ((await core.get(`/schedules${query}`)).body.data as ScheduleResource[]).map((one) => one.id);
    expect([await list('?status=paused'), (await list()).includes(id)]).toEqual([[id], true]);
    expect(scheduleOf(await core.post(`/schedules/${id}/resume`, {}))).toMatchObject({ status: 'active', next: changed.next });
    // An id is the same in capital letters.
    expect(scheduleOf(await core.post(`/schedules/${id.toUpperCase()}/pause`, {})).status).toBe('paused');
    expect(scheduleOf(await core.post(`/schedules/${id.toUpperCase()}/resume`, {})).status).toBe('active');
    expect((await core.rig.call('DELETE', `/schedules/${id.toUpperCase()}`)).status).toBe(200);
    const gone = await core.get(`/schedules/${id}`);
    expect([gone.status, gone.body.error?.code]).toEqual([404, 'SCHEDULE_NOT_FOUND']);
    const entries = await core.rig.database.reader.getRepository(AuditLog).findBy({ objectId: id });
    expect(entries.map(({ action }) => action.split('.')[1]).sort()).toEqual([
      'create',
      'delete',
      'pause',
      'pause',
      'resume',
      'resume',
      'update',
      'update',
    ]);
  });

  test('the list has pages, and a schedule that is deleted between two pages hides none', async () => {
    const ids: string[] = [];
    for (let number = 0; number < 5; number += 1) ids.push((await create({ name: `page ${number}` })).id);
    const page = async (query: string) => {
      const { status, body } = await core.get(`/schedules?status=active${query}`);
      const found = (body.data as ScheduleResource[] | undefined)?.map(({ id }) => id) ?? [];
      return { status, found, meta: body.meta as { limit: number; nextCursor: string | null } };
    };
    const all = await page('');
    expect(all).toMatchObject({ status: 200, meta: { limit: 50, nextCursor: null } });
    expect(all.found.slice(-5)).toEqual(ids);
    const collected: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const { found, meta } = await page(`&limit=2${cursor && `&cursor=${cursor}`}`);
      expect(found.length).toBeLessThanOrEqual(2);
      collected.push(...found);
      cursor = meta.nextCursor;
      if (found.includes(ids[1]!)) await core.rig.call('DELETE', `/schedules/${ids[1]}`);
    }
    expect(collected).toEqual(all.found);
    expect((await page('&cursor=unknown')).status).toBe(422);
    expect((await page('&limit=201')).status).toBe(422);
    for (const id of ids) await core.rig.call('DELETE', `/schedules/${id}`);
  });

  test('a cron expression that is not valid, or that never occurs, is refused with its field', async () => {
    const refusal = async (more: object) => fieldOf(await core.post('/schedules', { ...yearly, message, ...more }));
    expect(await refusal({ cron: 'every full moon' })).toBe('INVALID_CRON');
    expect(await refusal({ cron: '0 0 30 2 *' })).toBe('NO_OCCURRENCE');
    expect(await refusal({ endsAt: new Date(Date.now() - day).toISOString() })).toBe('NO_OCCURRENCE');
    // The year 10000 in UTC, which no reply could name.
    expect(await refusal({ endsAt: '9999-12-31T23:59:59-03:00' })).toBeDefined();
    expect((await core.get('/schedules')).status).toBe(200);
    expect(
      (await core.post('/schedules', { ...yearly, message: { ...message, scheduledAt: '2030-01-01T00:00:00Z' } })).status,
    ).toBe(422);
    expect((await core.post('/schedules', { ...yearly, message: { ...message, recipient: '12' } })).body.error?.code).toBe(
      'INVALID_RECIPIENT',
    );
    expect((await core.post('/schedules', { ...yearly, timezone: 'Mars/Olympus', message })).status).toBe(422);
  });

  test('it ends after its last occurrence, and begins again when it gets another end', async () => {
    const { id } = await create({ maxOccurrences: 1 });
    await due(id);
    await made(id);
    const ended = await read(id);
    expect(ended).toMatchObject({ status: 'ended', reason: { code: 'COMPLETED' }, occurrences: 1, next: [] });
    expect((await core.post(`/schedules/${id}/resume`, {})).body.error?.code).toBe('SCHEDULE_ENDED');
    expect(scheduleOf(await put(id, { maxOccurrences: 3 }))).toMatchObject({ status: 'active', reason: null });
    expect((await read(id)).next).toHaveLength(2);
  });

  test('each occurrence sends its own copy of the file, which is kept for as long as the schedule', async () => {
    const image = { type: 'image', recipient: ana, mediaBase64: picture, caption: 'Look' };
    const { id, content } = await create({ message: image });
    expect(content).toMatchObject({ caption: 'Look', media: { mimetype: 'image/png' } });
    for (const count of [1, 2]) {
      await due(id, count * 1_000);
      await made(id, count);
    }
    const messages = await messagesOf(id);
    for (const one of messages) {
      await core.reaches(one.id, 'sent');
      expect(leftOf(one.id)[0]?.file?.bytes.toString('base64')).toBe(picture);
    }
    expect(new Set(messages.map(({ mediaId }) => mediaId)).size).toBe(2);
    await core.rig.call('DELETE', `/schedules/${id}`);
    expect((await core.get(`/messages/${messages[0]!.id}/media`)).status).toBe(200);
  });

  test('occurrences that were missed by more than the grace time are counted, and the last of them fails as a message', async () => {
    const { id } = await create({ cron: '0 * * * *' });
    await due(id, 5 * 60 * minute);
    const messages = await made(id, 1);
    await eventually('the schedule to be up to date', async () => Date.parse((await read(id)).next[0] ?? '') > Date.now());
    const { missed, occurrences } = await read(id);
    expect(missed).toBeGreaterThanOrEqual(3);
    const all = await messagesOf(id);
    expect(all.length).toBe(occurrences - missed + 1);
    const failed = await core.reaches(messages.sort((one, other) => +one.scheduledAt! - +other.scheduledAt!)[0]!.id, 'failed');
    expect(failed.reason?.code).toBe('MISSED');
  });

  test('in the storage mode metadata its message is sealed, and sent', async () => {
    const settings = (storage: string) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { storage } } });
    await settings('metadata');
    const { id, content } = await create({
      message: { type: 'image', recipient: ana, mediaBase64: picture, caption: 'secret words' },
    });
    expect(content).toBeNull();
    const row = await core.rig.database.reader.getRepository(Schedule).findOneByOrFail({ id });
    expect([row.message, JSON.stringify(row).includes('secret words')]).toEqual([null, false]);
    await due(id);
    const [one] = await made(id);
    await core.reaches(one!.id, 'sent');
    expect(leftOf(one!.id)[0]?.command.content).toMatchObject({ caption: 'secret words' });
    expect(leftOf(one!.id)[0]?.file?.bytes.toString('base64')).toBe(picture);
    await settings('full');
  });

  test('an export has the schedules for a person, and an erasure deletes them', async () => {
    const bo = '5511999990088';
    const { id } = await create({ message: { ...message, recipient: bo } });
    const naming = await create({ message: { ...message, message: `Ask @${bo}`, mentions: [bo] } });
    const exported = await core.post('/privacy/exports', { contact: bo });
    const { id: exportId } = exported.body.data as { id: string };
    const isDone = async (kind: string, request: string) =>
      ((await core.get(`/privacy/${kind}/${request}`)).body.data as { status: string }).status === 'done';
    await eventually('the export', () => isDone('exports', exportId));
    const erasure = await core.post('/privacy/erasures', { contact: bo, confirm: bo });
    await eventually('the erasure', () => isDone('erasures', (erasure.body.data as { id: string }).id));
    expect((await core.get(`/schedules/${id}`)).status).toBe(404);
    const row = await core.rig.database.reader.getRepository(Schedule).findOneByOrFail({ id: naming.id });
    expect(JSON.stringify(row)).not.toContain(bo);
  });

  test('its message cannot name a file or a message of another account or session', async () => {
    const image = (await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture })).body
      .data as MessageResource;
    const { id: mediaId } = image.content!['media'] as { id: string };
    const { key } = await makeAccount(core.rig);
    await core.rig.call('POST', '/sessions', { key, body: { name: 'theirs' } });
    const other = (await core.post('/sessions', { name: `other-${database}` })).body.data as { id: string };
    const bound = (await core.post(`/sessions/${other.id}/keys`, { name: 'bound', permissions: ['*'] })).body.data as {
      key: string;
    };
    for (const stranger of [key, bound.key]) {
      const refusal = async (of: object): Promise<unknown> =>
        (await core.rig.call('POST', '/schedules', { key: stranger, body: { ...yearly, message: of } })).body.error?.code;
      expect(await refusal({ type: 'image', recipient: ana, mediaId })).toBe('MEDIA_NOT_FOUND');
      expect(await refusal({ ...message, quotedMessageId: image.id })).toBe('MESSAGE_NOT_FOUND');
    }
  });

  test('as another WhatsApp account it sends only after a person resumes it', async () => {
    const { id } = await create();
    core.worker.sessions.get(core.sessionId)!.phoneNumber = null;
    await core.worker.move(core.sessionId, 'disconnected', 'LOGGED_OUT_BY_PHONE');
    await core.post('/sessions/init');
    await core.worker.link(core.sessionId, '+5511977776666');
    await due(id);
    const paused = await eventually('it to be paused', async () => {
      const schedule = await read(id);
      return schedule.status === 'paused' ? schedule : null;
    });
    expect([paused.reason?.code, await messagesOf(id)]).toEqual(['SESSION_IDENTITY_CHANGED', []]);
    await core.post(`/schedules/${id}/resume`, {});
    await due(id);
    const [one] = await made(id);
    await core.reaches(one!.id, 'sent');
  });

  test('an occurrence that another backend has made since the schedules were listed is not made again, nor the next one early', async () => {
    const [first, second] = [await create({ name: 'first' }), await create({ name: 'second' })];
    const dueAt = Date.now() + 700;
    const change = (id: string, nextAt: number) => (tx: Transaction) =>
      updateRows(tx, Schedule, { id }, { nextAt: new Date(nextAt) });
    await core.rig.database.write.run(async (tx) => {
      await change(first.id, dueAt)(tx);
      await change(second.id, dueAt + 1)(tx);
    });
    // This transaction is the other backend: it has made the second occurrence and commits while this backend, which has listed both, is
    // waiting to make the first one.
    await core.rig.database.write.run(async (tx) => {
      await lockRows(tx, Session, [core.sessionId]);
      await change(second.id, Date.now() + 30 * 86_400_000)(tx);
      await sleep(dueAt + 1_500 - Date.now());
    });
    await made(first.id);
    await due(first.id);
    await made(first.id, 2);
    expect(await messagesOf(second.id)).toEqual([]);
  });

  test('a deleted session ends its schedules', async () => {
    const { id } = await create();
    await core.rig.call('DELETE', `/sessions/${core.sessionId}`);
    const ended = await eventually('it to end', async () => {
      const schedule = await read(id);
      return schedule.status === 'ended' ? schedule : null;
    });
    expect(ended.reason?.code).toBe('SESSION_DELETED');
  });
});

((await hasPostgres()) ? test : test.skip)(
  'two backends make each occurrence, and send each scheduled message, exactly once',
  async () => {
    const own = await migratedDatabase();
    const one = await startCore({ databaseUrl: own.url });
    // Both use the same worker.
    const settings = { ...quick, WORKER_URLS: one.worker.url };
    const other = await startRig({ databaseUrl: own.url, dataDir: one.rig.dataDir, settings });
    try {
      // The pace of sends is not what this is about.
      const pacing = { perMinute: 0, chatGapMs: 0, jitterMs: 0 };
      const changed = await one.rig.call('PUT', `/sessions/${one.sessionId}`, { body: { settings: { pacing } } });
      expect([changed.status, changed.body.error]).toEqual([200, undefined]);
      const ids: string[] = [];
      for (let n = 0; n < 12; n += 1) {
        const reply = await one.post('/schedules', {
          name: `s${n}`,
          cron: '0 0 1 1 *',
          message: { type: 'text', recipient: ana, message: `${n}` },
        });
        ids.push(scheduleOf(reply).id);
      }
      const scheduledAt = new Date(Date.now() + 2_500).toISOString();
      const scheduled = await Promise.all(
        Array.from({ length: 12 }, (_, n) => one.post('/messages/send-text', { recipient: ana, message: `m${n}`, scheduledAt })),
      );
      const { database } = one.rig;
      for (const id of ids)
        await database.write.run((tx) => updateRows(tx, Schedule, { id }, { nextAt: new Date(Date.now() + 1_500) }));
      const rows = () => database.reader.getRepository(Message).find();
      await eventually('all to be sent', async () => {
        const all = await rows();
        return all.length >= 24 && all.every(({ status }) => status === 'sent');
      }).catch(async (error: Error) => {
        const states = (await rows()).map(({ text, status, reasonCode, attempts }) => [text, status, reasonCode, attempts]);
        throw new Error(`${error.message} ${JSON.stringify(states)}`);
      });
      const all = await rows();
      expect(all).toHaveLength(24);
      expect(
        all
          .filter(({ scheduleId }) => scheduleId !== null)
          .map(({ scheduleId }) => scheduleId)
          .sort(),
      ).toEqual([...ids].sort());
      const left = one.worker.left.map(({ messageId }) => messageId);
      expect(left.sort()).toEqual(all.map(({ id }) => id).sort());
      expect(scheduled.map(({ body }) => (body.data as MessageResource).status)).toEqual(scheduled.map(() => 'scheduled'));
    } finally {
      await other.close();
      await one.close();
      await own.drop();
    }
  },
);
