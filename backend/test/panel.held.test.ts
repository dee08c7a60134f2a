import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { SessionStatusResource } from '@chasqui/shared';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { updateRows } from '../src/db/rows.js';
import { Message } from '../src/messages/message.entity.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { databases, password } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** What the panel shows and does about messages that were accepted for the WhatsApp account that was linked before. */
describe.each(await databases())('held messages at the panel, on %s', (database) => {
  let core: Core;
  let admin: Visitor;
  const path = (): string => `/admin/live/sessions/${core.sessionId}`;
  const shown = async (): Promise<unknown[]> => {
    const view = (await admin.get(path())).json()['data'] as Record<string, unknown>;
    return [view['heldMessages'], view['heldMessagesToSend']];
  };
  const decide = async (decision: string): Promise<number> => (await admin.post(`${path()}/held-messages`, { decision })).status;
  const leftOf = (id: string) => core.worker.left.filter(({ messageId }) => messageId === id);

  /** Two messages that were accepted for the account before, linked to another one now. */
  async function holdTwo(phone: string): Promise<[string, string]> {
    core.worker.sessions.get(core.sessionId)!.phoneNumber = null;
    await core.worker.move(core.sessionId, 'disconnected', 'LOGGED_OUT_BY_PHONE');
    const queued = async (text: string) => dataOf(await core.send(text, { async: true, queueIfOffline: true })).id;
    const ids = [await queued('one'), await queued('two')] as [string, string];
    const { body } = await core.post('/sessions/init');
    expect((body.data as SessionStatusResource).status).toBe('qr_pending');
    await core.worker.link(core.sessionId, phone);
    for (const id of ids)
      await eventually(`${id} to be held`, async () => (await core.message(id)).reason?.code === 'SESSION_IDENTITY_CHANGED');
    return ids;
  }

  beforeAll(async () => {
    await bundlePanel();
    core = await startCore({ database, mountPanel });
    admin = createVisitor(core.rig.url);
    await admin.send('/admin/login', { login: 'admin', password });
  }, 60_000);
  afterAll(() => core?.close());

  it('are sent once as the present account when a person decides so, and the decision is recorded', async () => {
    expect(await shown()).toEqual([0, 0]);
    const ids = await holdTwo('+5511977776666');
    expect(await shown()).toEqual([2, 2]);
    expect(await decide('maybe')).toBe(422);
    expect((await createVisitor(core.rig.url).post(`${path()}/held-messages`, { decision: 'send' })).status).toBe(401);
    expect((await admin.post(`${path()}/held-messages`, { decision: 'send' }, { origin: 'https://evil.example' })).status).toBe(
      403,
    );
    expect(ids.flatMap(leftOf)).toEqual([]);
    expect(await decide('send')).toBe(200);
    for (const id of ids) await core.reaches(id, 'sent');
    expect(await decide('send')).toBe(200);
    expect(await shown()).toEqual([0, 0]);
    expect(ids.map((id) => leftOf(id).map(({ command }) => command.account?.phoneNumber))).toEqual([
      ['+5511977776666'],
      ['+5511977776666'],
    ]);
    const [entry] = await core.rig.database.reader
      .getRepository(AuditLog)
      .find({ where: { action: 'message.held_send' }, order: { at: 'ASC' } });
    expect([entry?.actorName, entry?.objectId, entry?.changes]).toEqual(['admin', core.sessionId, { messages: 2, uncertain: 0 }]);
  });

  it('that may have been sent before are not offered for sending, and none is sent when all are cancelled', async () => {
    const ids = await holdTwo('+5511966665555');
    // Its earlier attempt may have left.
    await core.rig.database.write.run((tx) => updateRows(tx, Message, { id: ids[0] }, { hasUncertainAttempt: true }));
    expect(await shown()).toEqual([2, 1]);
    expect(await decide('send')).toBe(200);
    await core.reaches(ids[1], 'sent');
    expect(await shown()).toEqual([1, 0]);
    expect(await decide('cancel')).toBe(200);
    expect(await shown()).toEqual([0, 0]);
    await core.reaches(ids[0], 'uncertain');
    expect(ids.map((id) => leftOf(id).length)).toEqual([0, 1]);
  });
});
