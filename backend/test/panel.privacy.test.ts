import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PrivacyView } from '../src/admin/views/privacy.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import { updateRows } from '../src/db/rows.js';
import { PrivacyRequest } from '../src/privacy/privacy-request.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { databases, password } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** The panel's pages of privacy requests and of capabilities, in a whole backend. */
describe.each(await databases())('the panel of a backend on %s', (database) => {
  let core: Core;
  let admin: Visitor;
  const person = '5511999990001';
  const read = async (path: string) => (await admin.get(path)).json()['data'];
  const requests = async () => ((await read('/admin/live/privacy')) as PrivacyView).requests;
  const ownAccount = async () => (await core.rig.database.reader.getRepository(Session).findOneByOrFail({})).accountId;
  const finished = (id: string) =>
    eventually(`the end of ${id}`, async () => (await requests()).find((one) => one.id === id && one.status === 'done'));
  const ask = async (kind: 'exports' | 'erasures', body: object): Promise<string> => {
    const reply = await admin.post(`/admin/live/privacy/${kind}`, body);
    expect([reply.status, reply.text]).toEqual([200, expect.any(String)]);
    return (reply.json()['data'] as { id: string }).id;
  };

  beforeAll(async () => {
    await bundlePanel();
    core = await startCore({ database, mountPanel });
    admin = createVisitor(core.rig.url);
    await admin.send('/admin/login', { login: 'admin', password });
  }, 60_000);
  afterAll(() => core?.close());

  it('exports and erases a contact by the rules of REST, shows what became of it, and gives out the archive', async () => {
    const accountId = await ownAccount();
    await core.send('for the archive', { async: true });
    const contact = `+${person}`;
    const exported = await ask('exports', { accountId, contact });
    expect(await finished(exported)).toMatchObject({
      ...{ kind: 'export', contact, account: { id: accountId, name: 'admin' }, hasArchive: true },
      counts: { messages: 1 },
      expiresAt: expect.any(String),
    });
    const file = await admin.get(`/admin/live/privacy/${exported}/file`);
    expect([file.status, file.headers.get('content-type'), file.text.slice(0, 2)]).toEqual([200, 'application/zip', 'PK']);

    const refused = await admin.post('/admin/live/privacy/erasures', { accountId, contact, confirm: '+5511999990002' });
    expect([refused.status, (refused.json()['error'] as { code: string }).code]).toEqual([422, 'CONFIRMATION_REQUIRED']);
    expect((await admin.post('/admin/live/privacy/exports', { accountId, contact: '120363041234567890@g.us' })).status).toBe(422);
    expect((await admin.post('/admin/live/privacy/exports', { accountId: 'nobody', contact })).status).toBe(404);

    const erased = await ask('erasures', { accountId, contact, confirm: contact });
    expect(await finished(erased)).toMatchObject({ kind: 'erasure', contact: null, hasArchive: false });
    expect((await core.get('/messages/list')).body.data).toMatchObject([{ text: null, content: null, contact: null }]);
    expect((await admin.get(`/admin/live/privacy/${erased}/file`)).status).toBe(404);
    expect((await admin.get('/admin/live/privacy/nosuch/file')).status).toBe(404);
    const actions = (await core.rig.database.reader.getRepository(AuditLog).findBy({ objectType: 'contact' })).map(
      ({ action, actorName }) => `${action} by ${actorName}`,
    );
    expect(actions.sort()).toEqual(
      ['contact.erase', 'contact.export', 'contact.export_download'].map((action) => `${action} by admin`),
    );
  });

  it('names an archive that is over its time as deleted, and refuses it', async () => {
    const accountId = await ownAccount();
    const id = await ask('exports', { accountId, contact: `+${person}` });
    await finished(id);
    const expiresAt = new Date(Date.now() - 1_000);
    await core.rig.database.write.run((tx) => updateRows(tx, PrivacyRequest, { id }, { expiresAt }));
    expect((await requests()).find((one) => one.id === id)).toMatchObject({ hasArchive: false });
    expect((await admin.get(`/admin/live/privacy/${id}/file`)).status).toBe(410);
  });

  it('shows privacy requests to admins only', async () => {
    const person = { username: 'tomas', email: 'tomas@example.org', role: 'staff' };
    const { id, secret } = (await admin.post('/admin/live/accounts', person)).json()['data'] as { id: string; secret: string };
    const staff = createVisitor(core.rig.url);
    await staff.send('/admin/login', { login: 'tomas', password: secret });
    await staff.send('/admin/password', { current: secret, next: 'a password of my own', repeat: 'a password of my own' });
    expect((await staff.get('/admin/live/capabilities')).status).toBe(200);
    for (const path of ['/admin/live/privacy', '/admin/live/privacy/nosuch/file'])
      expect([path, (await staff.get(path)).status]).toEqual([path, 403]);
    for (const kind of ['exports', 'erasures'])
      expect((await staff.post(`/admin/live/privacy/${kind}`, { accountId: id, contact: '1', confirm: '1' })).status).toBe(403);
  });

  it('shows the sessions whose pages can do the same together, with the reasons', async () => {
    expect(await read('/admin/live/capabilities')).toEqual({ groups: [], unchecked: 1 });
    const check = (listeners: string[], checkedAt: string): Session['selfCheck'] => ({
      ...{ whatsappWebVersion: '2.3000.1', checkedAt, listeners, missing: {}, unchecked: [], essential: [] },
    });
    for (const name of ['b', 'c', 'd']) await core.post('/sessions', { name });
    const sessions = await core.rig.database.reader.getRepository(Session).find({ order: { name: 'ASC' } });
    const late = '2026-01-02T00:00:00.000Z';
    const checks = [check([], '2026-01-01T00:00:00.000Z'), check([], late), check(['message.ack'], late)];
    for (const [index, selfCheck] of checks.entries())
      await core.rig.database.write.run((tx) =>
        updateRows(tx, Session, { id: sessions[index]!.id }, { selfCheck, whatsappWebVersion: '2.3000.1' }),
      );
    const names = (index: number) => ({ id: sessions[index]!.id, name: sessions[index]!.name });
    expect(await read('/admin/live/capabilities')).toMatchObject({
      groups: [
        { sessions: [names(0), names(1)], listeners: [], checkedAt: Date.parse(late), whatsappWebVersion: '2.3000.1' },
        { sessions: [names(2)], listeners: ['message.ack'] },
      ],
      unchecked: 1,
    });
  });
});
