import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundlePanel } from '../src/admin/bundle.mjs';
import { mountPanel } from '../src/admin/panel.js';
import type { MessageView } from '../src/admin/views/message.js';
import { png } from './panel.picture.js';
import { createVisitor, type Visitor } from './panel.visitor.js';
import { databases, password } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/** A failed message that the panel sends to a corrected number, and what its timeline says to people. */
describe.each(await databases())('a failed message at the panel, on %s', (database) => {
  let core: Core;
  let admin: Visitor;
  beforeAll(async () => {
    await bundlePanel();
    core = await startCore({ database, mountPanel });
    admin = createVisitor(core.rig.url);
    await admin.send('/admin/login', { login: 'admin', password });
  }, 60_000);
  afterAll(() => core?.close());

  const view = async (id: string): Promise<MessageView> =>
    (await admin.get(`/admin/live/messages/${id}`)).json()['data'] as unknown as MessageView;
  const other = '5511999990002';
  /** Sends something that fails for good, because the number is not on WhatsApp. */
  async function fail(path: string, body: object): Promise<string> {
    core.worker.scripts.push({ do: 'fail', reason: 'RECIPIENT_NOT_ON_WHATSAPP', retryable: false });
    const { id } = dataOf(await core.post(path, { recipient: ana, ...body, async: true }));
    await core.reaches(id, 'failed');
    return id;
  }
  const resend = (id: string, recipient: string) => admin.post(`/admin/live/messages/${id}/resend`, { recipient });

  it('goes to the corrected number as a new message, and stays failed itself', async () => {
    const id = await fail('/messages/send-text', { message: 'Your bread is ready.' });
    const reply = await resend(id, `+${other}`);
    expect([reply.status, reply.text]).toEqual([200, expect.stringContaining('"id"')]);
    const copy = await core.reaches((reply.json()['data'] as { id: string }).id, 'sent');
    expect(copy).toMatchObject({
      text: 'Your bread is ready.',
      origin: 'panel',
      contact: { phone: `+${other}` },
      isForwarded: false,
    });
    expect((await core.message(id)).status).toBe('failed');
  });

  it('takes a copy of its file along', async () => {
    const id = await fail('/messages/send-media', {
      mediaBase64: png.toString('base64'),
      filename: 'a.png',
      caption: 'The receipt',
    });
    const reply = await resend(id, `+${other}`);
    expect([reply.status, reply.text]).toEqual([200, expect.stringContaining('"id"')]);
    const copy = await core.reaches((reply.json()['data'] as { id: string }).id, 'sent');
    expect(copy).toMatchObject({ type: 'image', text: 'The receipt', content: { media: { size: png.length } } });
    const original = await core.message(id);
    expect((copy.content as { media: { id: string } }).media.id).not.toBe(
      (original.content as { media: { id: string } }).media.id,
    );
    expect(core.worker.left.filter(({ command }) => command.recipient.startsWith(other)).at(-1)?.command.content.type).toBe(
      'image',
    );
  });

  it('is refused for a number that is none, and for a message that is not ours', async () => {
    const id = await fail('/messages/send-text', { message: 'x' });
    expect((await resend(id, 'nobody')).status).toBe(422);
    expect((await resend('01920000-0000-7000-8000-000000000009', `+${other}`)).status).toBe(404);
  });

  it('says in its timeline what people can do, and not which route programs call', async () => {
    const { timeline, reason } = await view(await fail('/messages/send-text', { message: 'x' }));
    // The sentence for programs, which a worker chooses.
    expect(reason?.message).toBe('It was refused.');
    expect(timeline.at(-1)).toMatchObject({
      status: 'failed',
      reason: { code: 'RECIPIENT_NOT_ON_WHATSAPP', what: 'This number is not on WhatsApp.' },
    });
    expect(JSON.stringify(timeline)).not.toContain('It was refused.');
  });
});
