import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { AppError, newId } from '@chasqui/shared';
import { databases } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';

/** A call that a request rejects: the reply says what became of it, and the answer to the caller is an ordinary message. */

describe.each(await databases())('a call that a request rejects, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  const contact = { id: `${ana}@c.us`, phone: `+${ana}`, lid: null, name: 'Ana' };
  const text = 'Please write.';
  const reject = async (body?: object, callId = newId(), key?: string) => {
    const path = `/sessions/${core.sessionId}/calls/${callId}/reject`;
    return core.rig.call('POST', path, { ...(body ? { body } : {}), ...(key ? { key } : {}) });
  };
  const becomes = (output: object): void => void core.worker.answer.set('calls.reject', output);
  const messages = (): number => core.worker.left.length;

  test('is answered by one message, which the reply names', async () => {
    becomes({ rejected: true, confirmed: true, contact });
    const callId = newId();
    const first = await reject({ message: text }, callId);
    const { messageId, ...rest } = first.body.data as { messageId: string };
    expect([first.status, rest]).toEqual([200, { rejected: true, confirmed: true }]);
    expect(await core.reaches(messageId, 'sent')).toMatchObject({ text, toNumber: ana, direction: 'outbound', origin: 'api' });
    const again = await reject({ message: text }, callId);
    expect((again.body.data as { messageId: string }).messageId).toBe(messageId);
    expect(messages()).toBe(1);
  });

  test.each<[string, object | undefined, object]>([
    ['without an answer', undefined, { rejected: true, confirmed: true, contact }],
    ['that ended in another way', { message: text }, { rejected: false, confirmed: false, contact }],
    ['of an unknown caller', { message: text }, { rejected: true, confirmed: true, contact: null }],
    ['through an older worker, which does not name the caller', { message: text }, { rejected: true, confirmed: false }],
  ])('%s sends nothing', async (_which, body, output) => {
    becomes(output);
    const before = messages();
    const { rejected, confirmed } = output as { rejected: boolean; confirmed: boolean };
    const reply = await reject(body);
    expect([reply.status, reply.body.data]).toEqual([200, { rejected, confirmed, messageId: null }]);
    expect(messages()).toBe(before);
  });

  test('and could not reject sends nothing', async () => {
    core.worker.answer.set('calls.reject', new AppError('OPERATION_TIMEOUT', { operation: 'calls.reject', effect: 'unknown' }));
    const before = messages();
    expect((await reject({ message: text })).status).toBe(504);
    expect(messages()).toBe(before);
  });

  test('with a key that may not send is refused before WhatsApp is asked', async () => {
    becomes({ rejected: true, confirmed: true, contact });
    const created = await core.post('/keys', { name: 'calls only', permissions: ['calls.manage'] });
    const { key } = created.body.data as { key: string };
    const before = core.worker.operations.length;
    const refused = await reject({ message: text }, newId(), key);
    expect([refused.status, refused.body.error?.code]).toEqual([403, 'PERMISSION_DENIED']);
    expect(core.worker.operations.length).toBe(before);
    expect((await reject(undefined, newId(), key)).status).toBe(200);
  });

  test('beyond the quota is rejected all the same', async () => {
    becomes({ rejected: true, confirmed: true, contact });
    const settings = (dailyLimit: number | null) =>
      core.rig.call('PUT', `/sessions/${core.sessionId}`, { body: { settings: { dailyLimit } } });
    await settings(1);
    expect((await reject({ message: text })).body.data).toEqual({ rejected: true, confirmed: true, messageId: null });
    await settings(null);
  });
});
