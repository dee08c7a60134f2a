import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { databases, type Reply } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';

/** `GET /sessions/:sessionId/logs` is the message list of one session. */

describe.each(await databases())('the messages of a session, on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
    await core.post('/sessions', { name: 'second' });
    for (const [sessionId, text] of [
      [core.sessionId, 'one'],
      ['second', 'two'],
      [core.sessionId, 'three'],
    ]) {
      const body = { sessionId, recipient: ana, message: text, async: true, queueIfOffline: true };
      expect((await core.post('/messages/send-text', body)).status).toBe(202);
    }
  });
  afterAll(() => core?.close());

  const textsOf = ({ status, body }: Reply): unknown => [status, (body.data as MessageResource[]).map(({ text }) => text)];

  test('are those of this session alone, newest first, by its id and by its name', async () => {
    expect(textsOf(await core.get(`/sessions/${core.sessionId}/logs`))).toEqual([200, ['three', 'one']]);
    expect(textsOf(await core.get('/sessions/second/logs'))).toEqual([200, ['two']]);
  });

  test('have the filters, the order and the cursor of the message list', async () => {
    const first = await core.get(`/sessions/${core.sessionId}/logs?order=asc&limit=1&direction=outbound`);
    expect(textsOf(first)).toEqual([200, ['one']]);
    const { nextCursor } = first.body.meta as { nextCursor: string };
    expect(textsOf(await core.get(`/sessions/${core.sessionId}/logs?order=asc&limit=1&cursor=${nextCursor}`))).toEqual([
      200,
      ['three'],
    ]);
    expect(textsOf(await core.get(`/sessions/${core.sessionId}/logs?search=thr`))).toEqual([200, ['three']]);
  });

  test('of a session that does not exist are 404, and another session in the query is refused', async () => {
    expect((await core.get('/sessions/third/logs')).body.error?.code).toBe('SESSION_NOT_FOUND');
    expect((await core.get(`/sessions/second/logs?sessionId=${core.sessionId}`)).body.error?.code).toBe('VALIDATION_FAILED');
  });
});
