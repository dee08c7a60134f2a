import { afterEach, describe, expect, test } from '@jest/globals';
import type { ObservedMessage } from '@chasqui/shared';
import { runStatement } from '../src/db/statement.js';
import { databases, type Reply } from './support/backend.js';
import { hello, peopleFor, rowsOf } from './support/bulk.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** An erasure where the rows of messages do not show the person: they are deleted already, or their content is sealed. */

const ben = { id: '5511999990077@c.us', phone: '+5511999990077', lid: null, name: 'Ben' };
const person = { id: `${ana}@c.us`, phone: `+${ana}`, lid: null, name: 'Ana' };
const group = { id: '120363000000000001@g.us', type: 'group', name: 'The street' } as const;

let core: Core | undefined;
afterEach(async () => {
  await core?.close();
  core = undefined;
});

async function erase({ post, get }: Core): Promise<{ status: string; counts: Record<string, number> }> {
  const { id } = (await post('/privacy/erasures', { contact: ana, confirm: ana })).body.data as { id: string };
  return eventually('the erasure to end', async () => {
    const data = (await get(`/privacy/erasures/${id}`)).body.data as { status: string; counts: Record<string, number> };
    return ['done', 'failed'].includes(data.status) ? data : null;
  });
}

describe.each(await databases())('an erasure on %s', (database) => {
  test('removes what the person wrote from events whose messages are deleted, and nothing that others wrote', async () => {
    core = await startCore({ database });
    const { worker, sessionId, rig } = core;
    const at = new Date().toISOString();
    const seen = (text: string, more: Partial<ObservedMessage>) => {
      const message = core!.inbound(text, { contact: person, ...more });
      const author = message.chat.type === 'group' ? `_${message.from}` : '';
      return { ...message, whatsappId: `false_${message.chat.id}_${message.key}${author}` };
    };
    const emit = (message: ObservedMessage) => worker.emit(sessionId, 'message.observed', { message, origin: 'live' });
    const aboutOf = ({ whatsappId, key, chat }: ObservedMessage) => ({ whatsappId, key, chat, fromMe: false, at });
    const first = seen('SECRET at first', {});
    const own = seen('SECRET in the group', { chat: group });
    const bens = seen('Ben asks', { chat: group, contact: ben, from: ben.id });
    for (const message of [first, own, bens]) await emit(message);
    await emit(seen('SECRET story', { chat: { id: 'status@broadcast', type: 'status', name: null } }));
    await worker.emit(sessionId, 'message.edited', { ...aboutOf(first), from: person.id, text: 'SECRET later' } as never);
    await worker.emit(sessionId, 'message.reaction', { ...aboutOf(bens), contact: person, emoji: '🦆' });
    await worker.emit(sessionId, 'message.reaction', { ...aboutOf(bens), contact: ben, emoji: '🐝' });
    await worker.emit(sessionId, 'poll.vote', { ...aboutOf(bens), contact: person, options: ['SECRET option'] });
    await worker.emit(sessionId, 'group.updated', { group, change: 'description', value: 'SECRET rules', by: person, at });
    await worker.emit(sessionId, 'group.updated', { group, change: 'description', value: 'Rules of Ben', by: ben, at });
    const sent = dataOf(await core.send('SECRET answer'));
    await core.reaches(sent.id, 'sent');
    const said = async (): Promise<string> => JSON.stringify(await core!.events());
    for (const text of ['SECRET at first', 'SECRET later', 'SECRET story', 'SECRET option', 'SECRET rules', '🦆'])
      expect(await said()).toContain(text);

    // The retention period of messages is over, that of events is not.
    await rig.database.write.run((tx) => runStatement(tx.manager, 'DELETE FROM messages'));
    expect(await erase(core)).toMatchObject({ status: 'done', counts: { messages: 0 } });
    const left = await said();
    expect(left.match(/SECRET[\w ]*|🦆/g)).toBeNull();
    for (const text of ['Ben asks', '🐝', 'Rules of Ben']) expect(left).toContain(text);
  });

  test('removes what an earlier erasure left in events whose ids it had redacted', async () => {
    core = await startCore({ database });
    await core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound('SECRET words'), origin: 'live' });
    await core.rig.database.write.run(async (tx) => {
      await runStatement(tx.manager, 'DELETE FROM messages');
      const redacted = `UPDATE events SET data = REPLACE(REPLACE(data, ?, 'erased'), ?, 'erased') WHERE type = 'message.received'`;
      await runStatement(tx.manager, redacted, [`${ana}@c.us`, `+${ana}`]);
    });
    expect((await erase(core)).status).toBe('done');
    expect(JSON.stringify(await core.events())).not.toContain('SECRET');
  });

  test('cancels sealed messages to others that name the person, and removes the person from an uncertain one', async () => {
    core = await startCore({ database, settings: { MESSAGE_CONTENT_STORAGE: 'metadata', UNCERTAIN_GRACE_MS: '600000' } });
    const { worker, sessionId, rig } = core;
    const card = { recipient: ben.phone, contacts: [{ name: 'Ana', phone: `+${ana}` }] };
    worker.scripts.push({ do: 'uncertain' });
    const mention = { recipient: group.id, message: `Ask @${ana}`, mentions: [`${ana}@c.us`, ben.id] };
    const uncertain = dataOf(await core.post('/messages/send-text', { ...mention, async: true }));
    await core.reaches(uncertain.id, 'uncertain');
    await worker.move(sessionId, 'connecting', 'RECONNECTING');
    const scheduledAt = new Date(Date.now() + 3_600_000).toISOString();
    const waits = { async: true, queueIfOffline: true };
    const naming = [
      await core.post('/messages/send-contact', { ...card, scheduledAt }),
      await core.post('/messages/send-contact', { ...card, ...waits }),
      await core.post('/messages/send-text', { ...mention, ...waits }),
    ].map((reply) => dataOf(reply).id);
    const other = dataOf(await core.send('to Ben', { recipient: ben.phone, ...waits })).id;

    expect(await erase(core)).toMatchObject({ status: 'done', counts: { mentions: 4 } });
    const statusOf = async (id: string) => (await core!.message(id)).status;
    expect(await Promise.all([...naming, uncertain.id, other].map(statusOf))).toEqual([
      ...['cancelled', 'cancelled', 'cancelled', 'uncertain', 'queued'],
    ]);
    const { rows } = await runStatement<{ id: string; sealed: string | null }>(
      rig.database.reader,
      'SELECT id, sealed FROM messages WHERE sealed IS NOT NULL ORDER BY id',
    );
    expect(rows.map(({ id }) => id)).toEqual([uncertain.id, other]);
    // Somebody decides that it was not sent, and it is sent again: without the person.
    await worker.move(sessionId, 'connected', null);
    await core.reaches(other, 'sent');
    expect((await core.post(`/messages/${uncertain.id}/resolve`, { as: 'retry' })).status).toBe(200);
    await core.reaches(uncertain.id, 'sent');
    const { command } = worker.left.find(({ messageId }) => messageId === uncertain.id)!;
    expect([command.content, command.options.mentions]).toEqual([{ type: 'text', message: 'Ask @erased' }, [ben.id]]);
    expect(worker.left).toHaveLength(2);
  });

  test('removes all that can be read, also if no key opens a schedule and a bulk job; then it ends as failed', async () => {
    core = await startCore({ database });
    const { rig, sessionId } = core;
    const idOf = ({ body }: Reply): string => (body.data as { id: string }).id;
    const schedule = (recipient: string, name: string) =>
      core!.post('/schedules', { name, cron: '0 0 1 1 *', message: { type: 'text', recipient, message: 'Hello' } });
    const job = (recipients: object[]) =>
      core!.post('/messages/bulk', { ...hello, recipients, scheduledAt: new Date(Date.now() + 3_600_000).toISOString() });
    const sealed = [idOf(await schedule(ben.phone, 'sealed')), idOf(await job(peopleFor(2)))];
    const rows = [{ recipient: `+${ana}`, variables: { name: 'SECRET Ana' } }, ...peopleFor(1)];
    const [theirs, others, listed] = [await schedule(ana, 'x'), await schedule(ben.phone, `Ask +${ana}`), await job(rows)].map(
      idOf,
    );
    await core.worker.emit(sessionId, 'message.observed', { message: core.inbound('SECRET words'), origin: 'live' });
    await rig.database.write.run(async (tx) => {
      await runStatement(tx.manager, `UPDATE schedules SET message = NULL, sealed = 'lost' WHERE id = ?`, [sealed[0]]);
      await runStatement(tx.manager, `UPDATE bulk_jobs SET content = NULL, sealed = 'lost' WHERE id = ?`, [sealed[1]]);
      await runStatement(tx.manager, `UPDATE bulk_recipients SET variables = NULL, sealed = 'lost' WHERE "jobId" = ?`, [
        sealed[1],
      ]);
    });
    expect((await erase(core)).status).toBe('failed');
    expect((await core.get(`/schedules/${theirs}`)).status).toBe(404);
    expect((await core.get(`/schedules/${others}`)).body.data).toMatchObject({ name: 'erased', content: { message: 'Hello' } });
    expect(JSON.stringify(await rowsOf(core, listed!))).not.toMatch(new RegExp(`${ana}|SECRET`));
    expect(JSON.stringify(await core.events())).not.toContain('SECRET');
    const { rows: failures } = await runStatement<{ subject: string }>(
      rig.database.reader,
      `SELECT subject FROM failures WHERE kind = 'privacy'`,
    );
    const left = failures.map(({ subject }) => subject.replace(/^\S+ /, '')).filter((subject) => subject.includes(' '));
    expect(left.sort()).toEqual([
      `bulk job ${sealed[1]}`,
      ...[0, 1].map((row) => `bulk job ${sealed[1]} ${row}`),
      `schedule ${sealed[0]}`,
    ]);
  });
});
