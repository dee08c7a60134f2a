import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { BulkJobDetails, Warning } from '@chasqui/shared';
import { Message } from '../src/messages/message.entity.js';
import { databases } from './support/backend.js';
import { hello, jobIs, jobOf, leftTo, peopleFor, phoneOfRow, requireTrueCounts, rowsOf, startJob } from './support/bulk.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import type { Script } from './support/worker.js';

let core: Core;
afterEach(() => core.close());

const chatOf = (row: number): string => `${phoneOfRow(row).slice(1)}@c.us`;

describe.each(await databases())('bulk jobs on %s', (database) => {
  test('each recipient gets one message with their own variables, and the counts add up', async () => {
    core = await startCore({ database });
    const recipients = [...peopleFor(5), { recipient: chatOf(1), variables: { name: 'again' } }, { recipient: 'nobody' }];
    const job = await startJob(core, { recipients, name: 'autumn' });
    expect(job).toMatchObject({ name: 'autumn', type: 'text', counts: { total: 7, skipped: 2 } });
    const done = await jobIs(core, job.id, 'completed', null);
    expect(done.counts).toMatchObject({ total: 7, pending: 0, queued: 0, sent: 5, skipped: 2 });
    expect(done.finishedAt).not.toBeNull();
    await requireTrueCounts(core, job.id);
    expect(leftTo(core)).toEqual(new Map([0, 1, 2, 3, 4].map((row) => [chatOf(row), [`Hello Person ${row}`]])));
    const rows = await rowsOf(core, job.id);
    expect(rows.map(({ status, reason }) => reason?.code ?? status)).toEqual([
      ...Array<string>(5).fill('sent'),
      'DUPLICATE',
      'INVALID_RECIPIENT',
    ]);
    const message = await core.message(rows[0]!.messageId!);
    expect(message).toMatchObject({ origin: 'bulk', bulkJobId: job.id, status: 'sent', text: 'Hello Person 0' });
    const listed = await core.get(`/messages/list?bulkJobId=${job.id}`);
    expect((listed.body.data as unknown[]).length).toBe(5);
    const states = (await core.events('bulk.status')).map(({ data }) => data['status']);
    expect([states[0], states.at(-1)]).toEqual(['running', 'completed']);
    expect(states.length).toBeGreaterThan(4);
  });

  test('a person who is listed by number and by LID gets one message', async () => {
    core = await startCore({ database });
    const lid = '184467440737@lid';
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('hi'), origin: 'live' });
    const job = await startJob(core, {
      recipients: [ana, lid, phoneOfRow(1)].map((recipient) => ({ recipient, variables: { name: 'x' } })),
    });
    expect((await rowsOf(core, job.id)).map(({ reason }) => reason?.code ?? null)).toEqual([null, 'DUPLICATE', null]);
    await jobIs(core, job.id, 'completed');
    expect([...leftTo(core).keys()]).toEqual([`${ana}@c.us`, chatOf(1)]);
  });

  test('the reply says what WhatsApp does not deliver as requested', async () => {
    core = await startCore({ database });
    const recipients = peopleFor(1);
    const url = 'https://example.com/menu';
    const said = async (body: object): Promise<string[]> => {
      const reply = await core.post('/messages/bulk', { ...hello, recipients, ...body });
      expect(reply.status).toBe(202);
      const { warnings = [] } = reply.body as { warnings?: Warning[] };
      return warnings.map(({ code }) => code);
    };
    expect(await said({})).toEqual([]);
    expect(await said({ message: `See ${url}`, linkPreview: { title: 'Our menu', url } })).toEqual(['PREVIEW_NOT_GUARANTEED']);
    const list = { type: 'list', message: 'Soup?', buttonText: 'Choose', sections: [{ rows: [{ id: 'soup', title: 'Soup' }] }] };
    expect(await said(list)).toEqual(['INTERACTIVE_DEPRECATED']);
  });

  test('a job with a missing variable is refused as a whole and names the rows', async () => {
    core = await startCore({ database });
    const recipients = [...peopleFor(2), { recipient: phoneOfRow(2) }];
    const reply = await core.post('/messages/bulk', { ...hello, recipients });
    expect(reply.status).toBe(422);
    expect(reply.body.error).toMatchObject({ code: 'MISSING_VARIABLE', details: { variables: ['name'], rows: [{ row: 3 }] } });
    expect((await core.get('/messages/bulk')).body.data).toEqual([]);
    expect(core.worker.left).toEqual([]);
  });

  test('takes as many values as it promises, with commas in them', async () => {
    core = await startCore({ database });
    const variables = Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`v${index}`, 'a, "b"']));
    const recipients = peopleFor(4_000).map((person) => ({ ...person, variables: { ...person.variables, ...variables } }));
    const { status, body } = await core.post('/messages/bulk/check', { ...hello, recipients });
    expect([status, body.error]).toEqual([200, undefined]);
    expect(body.data).toMatchObject({ total: 4_000, isAcceptable: true });
    const most = { ...hello, recipients: [{ recipient: phoneOfRow(0), variables: { name: 'x', list: Array(600_000).fill(0) } }] };
    expect((await core.post('/messages/bulk/check', most)).body.error).toMatchObject({ code: 'BODY_TOO_LARGE' });
  });

  test('a check stores nothing and says what would become of each row', async () => {
    core = await startCore({ database });
    const recipients = [
      ...peopleFor(2),
      { recipient: phoneOfRow(0), variables: { name: 'again' } },
      { recipient: phoneOfRow(5) },
    ];
    const { body } = await core.post('/messages/bulk/check', { ...hello, recipients });
    expect(body.data).toMatchObject({
      total: 4,
      accepted: 3,
      isAcceptable: false,
      skipped: { DUPLICATE: 1 },
      preview: 'Hello Person 0',
      issues: [
        { row: 3, code: 'DUPLICATE' },
        { row: 4, code: 'MISSING_VARIABLE', variables: ['name'] },
      ],
    });
    expect((await core.get('/messages/bulk')).body.data).toEqual([]);
  });

  test('a repeat with the same Idempotency-Key returns the job, and no person gets a second message', async () => {
    core = await startCore({ database });
    const headers = { 'idempotency-key': 'autumn-1' };
    const first = await startJob(core, { recipients: peopleFor(3) }, headers);
    const again = await core.post('/messages/bulk', { ...hello, recipients: peopleFor(3) }, headers);
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([202, 'true']);
    expect((again.body.data as BulkJobDetails).id).toBe(first.id);
    const other = await core.post('/messages/bulk', { ...hello, recipients: peopleFor(4) }, headers);
    expect(other.body.error?.code).toBe('IDEMPOTENCY_KEY_REUSED');
    await jobIs(core, first.id, 'completed');
    expect(core.worker.left).toHaveLength(3);
  });

  test('a paused job queues nothing, goes on when it is resumed, and cancelled recipients get nothing', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: peopleFor(6), gapMs: [300, 300] });
    await eventually('the first message', async () => core.worker.left.length > 0);
    const paused = await core.post(`/messages/bulk/${job.id}/pause`, {});
    expect(paused.body.data).toMatchObject({ status: 'paused', estimatedEndAt: null });
    expect((await core.post(`/messages/bulk/${job.id}/pause`, {})).body.error?.code).toBe('BULK_STATE_CONFLICT');
    await eventually('the queue to be empty', async () => (await jobOf(core, job.id)).counts.queued === 0);
    const before = core.worker.left.length;
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(core.worker.left).toHaveLength(before);
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    await eventually('another message', async () => core.worker.left.length > before);
    const cancelled = await core.post(`/messages/bulk/${job.id}/cancel`, {});
    expect(cancelled.body.data).toMatchObject({ status: 'cancelled', counts: { pending: 0 } });
    await eventually('an empty queue', async () => (await jobOf(core, job.id)).counts.queued === 0);
    await requireTrueCounts(core, job.id);
    const { counts } = await jobOf(core, job.id);
    expect(counts.sent + counts.cancelled).toBe(6);
    expect(core.worker.left).toHaveLength(counts.sent);
    expect((await core.post(`/messages/bulk/${job.id}/resume`, {})).body.error?.code).toBe('BULK_STATE_CONFLICT');
  });

  test('failed recipients are sent again under the same message when the job is retried', async () => {
    core = await startCore({ database });
    core.worker.scripts.push({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const job = await startJob(core, { recipients: peopleFor(3) });
    await jobIs(core, job.id, 'completed');
    const [failed] = await rowsOf(core, job.id, '&status=failed');
    expect(failed).toMatchObject({ row: 1, reason: { code: 'CHAT_NOT_FOUND' } });
    expect((await core.post(`/messages/bulk/${job.id}/retry`, {})).body.data).toMatchObject({ counts: { failed: 0 } });
    const done = await eventually('all to be sent', async () => {
      const now = await jobOf(core, job.id);
      return now.status === 'completed' && now.counts.sent === 3 ? now : null;
    });
    expect(done.counts).toMatchObject({ total: 3, sent: 3, failed: 0 });
    expect((await rowsOf(core, job.id))[0]!.messageId).toBe(failed!.messageId);
    expect([...leftTo(core).values()].map((texts) => texts.length)).toEqual([1, 1, 1]);
    expect((await core.post(`/messages/bulk/${job.id}/retry`, {})).body.error?.code).toBe('BULK_STATE_CONFLICT');
  });

  test('a failed recipient whose message turns out to have been sent gets no second one when the job is retried', async () => {
    core = await startCore({ database });
    core.worker.script({ do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false });
    const job = await startJob(core, { recipients: peopleFor(1) });
    await jobIs(core, job.id, 'completed');
    const [row] = await rowsOf(core, job.id);
    expect(row).toMatchObject({ status: 'failed' });
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    await core.post(`/messages/bulk/${job.id}/retry`, {});
    await jobIs(core, job.id, 'waiting', 'SESSION_NOT_CONNECTED');
    const messages = core.rig.database.reader.getRepository(Message);
    const { whatsappKey: key } = await messages.findOneByOrFail({ id: row!.messageId! });
    const id = chatOf(0);
    const chat = { id, type: 'private' as const, name: null };
    const ack = { whatsappId: `true_${id}_${key}`, key, chat, ack: 2, participant: null, at: new Date().toISOString() };
    await core.worker.emit(core.sessionId, 'message.ack', ack);
    const before = core.worker.puts.length;
    await core.worker.move(core.sessionId, 'connected', null);
    const done = await jobIs(core, job.id, 'completed');
    expect(done.counts).toMatchObject({ delivered: 1, failed: 0 });
    expect(core.worker.puts.length).toBe(before);
    await requireTrueCounts(core, job.id);
  });

  test('a job pauses by itself when too many of its messages fail, and counts from zero after it is resumed', async () => {
    core = await startCore({ database, settings: { BULK_MAX_FAILED_PERCENT: '10' } });
    for (let n = 0; n < 20; n += 1)
      core.worker.scripts.push(n % 2 === 0 ? { do: 'fail', reason: 'CHAT_NOT_FOUND', retryable: false } : { do: 'send' });
    const job = await startJob(core, { recipients: peopleFor(25) });
    const paused = await jobIs(core, job.id, 'paused', 'TOO_MANY_FAILURES');
    expect(paused.counts).toMatchObject({ failed: 10, sent: 10, pending: 5 });
    await core.post(`/messages/bulk/${job.id}/resume`, {});
    expect((await jobIs(core, job.id, 'completed')).counts).toMatchObject({ failed: 10, sent: 15 });
  });

  test('at the end of the quota the job waits for the reset and goes on by itself', async () => {
    core = await startCore({ database });
    await core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { dailyLimit: 2 } } });
    const job = await startJob(core, { recipients: peopleFor(4) });
    const waiting = await jobIs(core, job.id, 'waiting', 'QUOTA_EXCEEDED');
    expect(waiting.counts).toMatchObject({ sent: 2, pending: 2 });
    expect(Date.parse(waiting.waitingUntil!)).toBeGreaterThan(Date.now());
    expect(Date.parse(waiting.estimatedEndAt!)).toBeGreaterThanOrEqual(Date.parse(waiting.waitingUntil!));
  });

  test('single sends overtake a job, and two jobs of one session take turns', async () => {
    core = await startCore({ database });
    const one = await startJob(core, { recipients: peopleFor(4), message: 'one {{name}}', gapMs: [100, 100] });
    const two = await startJob(core, { recipients: peopleFor(4, 10), message: 'two {{name}}', gapMs: [100, 100] });
    await jobIs(core, one.id, 'completed');
    await jobIs(core, two.id, 'completed');
    const order = core.worker.left.map(({ command }) => (command.content as { message: string }).message.slice(0, 3));
    expect(order.slice(1, 7).join(' ')).toMatch(/^(one two one two one two|two one two one two one)$/);
    // They share the pace of the session: the gap of each counts for the other one.
    const times = (await core.events('message.queued')).map(({ data }) => Date.parse(data['queuedAt'] as string)).sort();
    expect(Math.min(...times.slice(1).map((time, index) => time - times[index]!))).toBeGreaterThanOrEqual(95);
  });

  test('the session is away: the job waits, and goes on when it is back', async () => {
    core = await startCore({ database });
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const job = await startJob(core, { recipients: peopleFor(2) });
    await jobIs(core, job.id, 'waiting', 'SESSION_NOT_CONNECTED');
    expect(core.worker.left).toEqual([]);
    await core.worker.move(core.sessionId, 'connected', null);
    await jobIs(core, job.id, 'completed');
    expect(core.worker.left).toHaveLength(2);
  });

  test('a scheduled job begins at its time; a time in the past is refused', async () => {
    core = await startCore({ database });
    const past = await core.post('/messages/bulk', { ...hello, recipients: peopleFor(1), scheduledAt: '2020-01-01T00:00:00Z' });
    expect(past.body.error?.code).toBe('SCHEDULE_IN_PAST');
    const at = new Date(Date.now() + 1_500);
    const job = await startJob(core, { recipients: peopleFor(2), scheduledAt: at.toISOString() });
    expect(job).toMatchObject({ status: 'scheduled', startedAt: null });
    const done = await jobIs(core, job.id, 'completed');
    expect(Date.parse(done.startedAt!)).toBeGreaterThanOrEqual(at.getTime());
  });

  test('a message that may have been sent keeps the job open until it is settled', async () => {
    core = await startCore({ database });
    core.worker.proves = false;
    core.worker.scripts.push({ do: 'send' }, { do: 'uncertain' });
    const job = await startJob(core, { recipients: peopleFor(2) });
    const waiting = await jobIs(core, job.id, 'waiting', 'UNCERTAIN_MESSAGES');
    expect(waiting.counts).toMatchObject({ sent: 1, uncertain: 1 });
    const [row] = await rowsOf(core, job.id, '&status=uncertain');
    await core.post(`/messages/${row!.messageId}/resolve`, { as: 'sent' });
    expect((await jobIs(core, job.id, 'completed')).counts).toMatchObject({ sent: 2, uncertain: 0 });
  });

  test('the events of a cancelled job follow each outcome that was still open', async () => {
    core = await startCore({ database });
    core.worker.proves = false;
    const refusals = Array.from({ length: 50 }, (): Script => ({ do: 'refuse', code: 'SESSION_NOT_CONNECTED' }));
    core.worker.scripts.push({ do: 'uncertain' }, { do: 'uncertain' }, ...refusals);
    const job = await startJob(core, { recipients: peopleFor(100), gapMs: [0, 0] });
    await eventually('two uncertain messages and one in the queue', async () => {
      const { counts } = await jobOf(core, job.id);
      return counts.uncertain === 2 && counts.queued === 1;
    });
    const lastIs = (expected: Record<string, number>) =>
      eventually(`a last event with ${JSON.stringify(expected)}`, async () => {
        const { data } = (await core.events('bulk.status')).at(-1)!;
        const counts = data['counts'] as Record<string, number>;
        return data['status'] === 'cancelled' && Object.entries(expected).every(([name, count]) => counts[name] === count);
      });
    await core.post(`/messages/bulk/${job.id}/cancel`, {});
    // A message that is being sent at that moment goes on.
    core.worker.scripts.length = 0;
    await lastIs({ pending: 0, queued: 0, uncertain: 2 });
    const rows = await rowsOf(core, job.id, '&status=uncertain');
    for (const [place, { messageId }] of rows.entries()) {
      await core.post(`/messages/${messageId}/resolve`, { as: 'sent' });
      await lastIs({ pending: 0, queued: 0, uncertain: 1 - place });
    }
    await requireTrueCounts(core, job.id);
  });

  test('where no content may be stored, it is sealed, and gone when the job is over', async () => {
    core = await startCore({ database, settings: { MESSAGE_CONTENT_STORAGE: 'metadata' } });
    const job = await startJob(core, { recipients: peopleFor(3), gapMs: [200, 200] });
    const stored = async (): Promise<string> =>
      JSON.stringify([
        await core.rig.database.reader.query('SELECT * FROM bulk_jobs'),
        await core.rig.database.reader.query('SELECT * FROM bulk_recipients'),
      ]);
    expect(await stored()).not.toMatch(/Hello|Person/);
    await jobIs(core, job.id, 'completed');
    expect(leftTo(core).get(chatOf(2))).toEqual(['Hello Person 2']);
    const rows = await core.rig.database.reader.query(
      'SELECT sealed FROM bulk_recipients UNION ALL SELECT sealed FROM bulk_jobs',
    );
    expect((rows as { sealed: string | null }[]).every(({ sealed }) => sealed === null)).toBe(true);
  });

  test('all messages of a job share one file, which outlives the upload', async () => {
    core = await startCore({ database });
    const gif = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
    const { body } = await core.post('/media', { mediaBase64: gif, filename: 'logo.gif' });
    const mediaId = (body.data as { id: string }).id;
    const job = await startJob(core, {
      type: 'image',
      message: undefined,
      caption: 'For {{name}}',
      mediaId,
      recipients: peopleFor(3),
      gapMs: [200, 200],
    });
    await core.rig.call('DELETE', `/media/${mediaId}`);
    await jobIs(core, job.id, 'completed');
    expect(core.worker.left.map(({ file }) => file?.bytes.length)).toEqual([42, 42, 42]);
    const files = await core.rig.database.reader.query('SELECT id FROM media_files');
    expect(files as unknown[]).toHaveLength(1);
    const [row] = await rowsOf(core, job.id);
    expect((await core.get(`/messages/${row!.messageId}/media`)).status).toBe(200);
    expect((await core.message(row!.messageId!)).text).toBe('For Person 0');
  });

  test('where no content may be stored, the shared file stays sealed until the last message has used it', async () => {
    core = await startCore({ database, settings: { MESSAGE_CONTENT_STORAGE: 'metadata' } });
    const gif = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';
    const mediaId = ((await core.post('/media', { mediaBase64: gif })).body.data as { id: string }).id;
    const job = await startJob(core, { type: 'image', message: undefined, mediaId, recipients: peopleFor(3), gapMs: [150, 150] });
    await jobIs(core, job.id, 'completed');
    expect(core.worker.left.map(({ file }) => file?.bytes.length)).toEqual([42, 42, 42]);
    const files = (await core.rig.database.reader.query('SELECT id FROM media_files')) as { id: string }[];
    expect(files.map(({ id }) => id)).toEqual([mediaId]);
  });

  test('a template is sent as it was when the job was accepted', async () => {
    core = await startCore({ database });
    const template = { name: 'paid', type: 'text', content: { message: 'Hi {{name}}, {{amount|number}} paid' } };
    const { id } = (await core.post('/templates', template)).body.data as { id: string };
    const people = peopleFor(2).map(({ recipient, variables }) => ({ recipient, variables: { ...variables, amount: 1_234.5 } }));
    const at = new Date(Date.now() + 1_500).toISOString();
    const body = { type: undefined, message: undefined, templateId: id, recipients: people, scheduledAt: at };
    const job = await startJob(core, body);
    expect(job).toMatchObject({ type: 'text', templateId: id });
    await core.rig.call('PUT', `/templates/${id}`, { body: { content: { message: 'changed' } } });
    await jobIs(core, job.id, 'completed');
    expect(leftTo(core).get(chatOf(1))).toEqual(['Hi Person 1, 1,234.5 paid']);
    const [row] = await rowsOf(core, job.id);
    expect(await core.message(row!.messageId!)).toMatchObject({ templateId: id, bulkJobId: job.id });
    const missing = await core.post('/messages/bulk', { templateId: randomUUID(), recipients: people });
    expect([missing.status, missing.body.error?.code]).toEqual([404, 'TEMPLATE_NOT_FOUND']);
  });

  test('the report is CSV, and a cell cannot become a formula', async () => {
    core = await startCore({ database });
    const job = await startJob(core, { recipients: [...peopleFor(1), { recipient: '=1+1', variables: { name: 'x' } }] });
    await jobIs(core, job.id, 'completed');
    const { headers, body } = await core.get(`/messages/bulk/${job.id}/export`);
    expect(headers.get('content-type')).toContain('text/csv');
    const lines = String(body.data).split('\r\n');
    expect(lines[1]).toMatch(/^1,\+5511988000000,\+5511988000000,sent,,[-0-9a-f]{36}$/);
    expect(lines[2]).toBe("2,'=1+1,,skipped,INVALID_RECIPIENT,");
  });

  test('recipients come from a CSV file, whatever its encoding', async () => {
    core = await startCore({ database });
    const form = new FormData();
    form.set('message', 'Olá {{Nome}}');
    form.set('gapMs', '[0,0]');
    const text = `Telefone;Nome\r\n${phoneOfRow(0)};João\r\n${phoneOfRow(1)};Ana\r\n`;
    form.set('file', new Blob([Buffer.from(text, 'latin1')], { type: 'text/csv' }), 'people.csv');
    const reply = await core.post('/messages/bulk', form);
    expect(reply.status).toBe(202);
    await jobIs(core, (reply.body.data as BulkJobDetails).id, 'completed');
    expect(leftTo(core).get(chatOf(0))).toEqual(['Olá João']);

    // PostgreSQL refuses longer ones, and texts with U+0000.
    const long = [`${'1'.repeat(90)};x`, `${'2'.repeat(90)};x`, `${phoneOfRow(2)};Eva`];
    const { body } = await core.post('/messages/bulk', { ...hello, csv: ['phone;name', ...long].join('\n') });
    expect(body.data).toMatchObject({ counts: { total: 3, skipped: 2 } });
    form.set('file', new Blob([`phone;Nome\n${phoneOfRow(3)};a\0b\n`]), 'people.csv');
    expect((await core.post('/messages/bulk', form)).body.error).toMatchObject({
      code: 'VALIDATION_FAILED',
      details: { fields: [{ path: 'file', code: 'INVALID_CHARACTER' }] },
    });
  });
});
