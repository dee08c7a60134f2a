import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { messageView } from '../src/admin/views/message.js';
import { updateRows } from '../src/db/rows.js';
import { Message } from '../src/messages/message.entity.js';
import { Schedule } from '../src/messages/recurring/schedule.entity.js';
import { loginOf } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { peopleFor, startJob } from './support/bulk.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** A message knows the request and the API key that sent it. The page of a message in the panel shows both. */

describe.each(await databases())('who sent a message, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const shownOf = async (reply: Reply) => {
    const { requestId, apiKey } = await messageView(core.rig.database.reader, dataOf(reply).id);
    return { requestId, name: apiKey && apiKey.name };
  };
  const later = () => new Date(Date.now() + 3_600_000).toISOString();

  test.each(['now', 'later'])('a key and a request id, for a message that is sent %s', async (when) => {
    const headers = { 'x-request-id': `order-77-${when}` };
    const more = when === 'later' ? { scheduledAt: later() } : {};
    expect(await shownOf(await core.send('hi', more, headers))).toEqual({ requestId: `order-77-${when}`, name: 'Primary key' });
  });

  test('a person who logged in has no key', async () => {
    const { headers } = await loginOf(core.rig);
    const body = { recipient: ana, message: 'hi', sessionId: core.sessionId };
    const reply = await core.rig.call('POST', '/messages/send-text', { key: null, body, headers });
    expect(await shownOf(reply)).toEqual({ requestId: reply.body.requestId, name: null });
  });

  const requestOf = async (where: { bulkJobId: string } | { scheduleId: string }) => {
    const { reader } = core.rig.database;
    const row = await eventually('a message of it', () => reader.getRepository(Message).findOneBy(where));
    const { requestId, apiKey } = await messageView(reader, row.id);
    return { requestId, name: apiKey && apiKey.name };
  };

  test('a message of a bulk job or a schedule: those of the request that created the job or schedule', async () => {
    const job = await startJob(core, { recipients: peopleFor(2) }, { 'x-request-id': 'campaign-8' });
    expect(await requestOf({ bulkJobId: job.id })).toEqual({ requestId: 'campaign-8', name: 'Primary key' });
    const message = { type: 'text', recipient: ana, message: 'Happy New Year' };
    const body = { name: 'New Year', cron: '0 0 1 1 *', message };
    const { id } = dataOf(await core.post('/schedules', body, { 'x-request-id': 'yearly-9' }));
    await core.rig.call('PUT', `/schedules/${id}`, { body: { name: 'Daily' }, headers: { 'x-request-id': 'changed-9' } });
    await core.rig.database.write.run((tx) => updateRows(tx, Schedule, { id }, { nextAt: new Date(Date.now() - 1_000) }));
    expect(await requestOf({ scheduleId: id })).toEqual({ requestId: 'yearly-9', name: 'Primary key' });
  });

  test('a received message has neither', async () => {
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('hello'), origin: 'live' });
    const list = (await core.get('/messages/list?direction=inbound')).body.data as { id: string }[];
    const { requestId, apiKey } = await messageView(core.rig.database.reader, list[0]!.id);
    expect([requestId, apiKey]).toEqual([null, null]);
  });
});
