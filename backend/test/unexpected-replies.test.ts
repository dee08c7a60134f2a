import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { operations, type OperationId } from '@chasqui/shared';
import { ana, startCore, type Core } from './support/core.js';

/** A worker of another version answers in another form: that is told as it is, and never as a fault of the caller or of this program. */

describe('a reply of another form than the contract’s', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database: 'sqlite' });
  });
  afterAll(() => core?.close());

  const cases: [OperationId, string, string, object | null][] = [
    ['chats.list', 'GET', '/sessions/current/chats', null],
    ['contacts.list', 'GET', '/sessions/current/contacts', null],
    ['profile.get', 'GET', '/sessions/current/profile', null],
    ['chats.archive', 'PUT', `/sessions/current/chats/${ana}@c.us/archive`, null],
    ['groups.create', 'POST', '/sessions/current/groups', { name: 'Team', participants: [ana] }],
    ['profile.setAbout', 'PUT', '/sessions/current/profile/about', { about: 'Open until six' }],
  ];

  test.each(cases)('of %s is 504 that says what is known of its effect', async (id, method, path, body) => {
    const { effect, isAudited } = operations[id];
    const audits = async (): Promise<number> =>
      ((await core.get(`/audit?limit=200`)).body.data as { action: string }[]).filter(({ action }) => action === id).length;
    const before = await audits();
    const replies: unknown[] = [undefined, null, 42, 'done', [7], { items: 'many' }, { chats: [{ id: 7 }] }];
    for (const reply of replies) {
      core.worker.answer.set(id, reply as never);
      const answer = await core.rig.call(method, path, body ? { body } : {});
      expect([reply, answer.status, answer.body.error?.code, answer.body.error?.details]).toEqual([
        reply,
        504,
        'OPERATION_TIMEOUT',
        expect.objectContaining({ operation: id, effect: effect === 'read' ? 'none' : 'unknown', cause: 'UNEXPECTED_REPLY' }),
      ]);
    }
    expect((await audits()) - before).toBe(isAudited ? replies.length : 0);
  });
});
