import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  operationIds,
  operationRoute,
  operations,
  permissions,
  type Capability,
  type Operation,
  type SelfCheck,
} from '@chasqui/shared';
import { type z } from 'zod';
import { withAddresses } from '../src/whatsapp/operation-input.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { sampleOf } from './support/sample.js';

const version = '2.3000.1048000000';
const checkOf = (more: Partial<SelfCheck> = {}): SelfCheck => ({
  checkedAt: '2026-11-20T10:00:00.000Z',
  whatsappWebVersion: version,
  missing: {},
  unchecked: [],
  essential: [],
  listeners: [],
  ...more,
});

describe.each(await databases())('what WhatsApp Web can do, on %s', (database) => {
  let core: Core;
  const read = async (): Promise<Map<string, Capability>> => {
    const { body } = await core.get(`/capabilities?sessionId=${core.sessionId}`);
    return new Map((body.data as unknown as Capability[]).map((row) => [row.operation, row]));
  };
  const observed = (selfCheck: SelfCheck | null) => {
    const { status, reason } = core.worker.sessions.get(core.sessionId)!;
    return core.worker.emit(core.sessionId, 'session.observed', {
      ...{ status, reason, phoneNumber: null, lid: null, pushName: null, platform: null },
      ...{ attempt: 0, whatsappWebVersion: version, compat: [], selfCheck },
    });
  };

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('is the table, without a time, until a page was checked', async () => {
    const rows = await read();
    expect([...rows.keys()]).toEqual(operationIds);
    for (const [id, row] of rows)
      expect(row).toMatchObject({ support: operations[id as (typeof operationIds)[number]].support, checkedAt: null });
  });

  test('is what the check found, with its time; an operation that was not checked is as in the table', async () => {
    const missing = { 'chats.archive': ['WAWebCmd.Cmd.archiveChat', 'WAWebOther'] };
    await observed(checkOf({ missing, unchecked: ['chats.list'] }));
    const rows = await eventually('the check', async () => {
      const found = await read();
      return found.get('chats.archive')?.support === 'unsupported' && found;
    });
    expect(rows.get('chats.archive')).toMatchObject({
      support: 'unsupported',
      reason: 'WhatsApp Web has no WAWebCmd.Cmd.archiveChat, WAWebOther.',
      checkedAt: '2026-11-20T10:00:00.000Z',
    });
    expect(rows.get('chats.unarchive')).toMatchObject({ support: 'supported', checkedAt: '2026-11-20T10:00:00.000Z' });
    expect(rows.get('chats.list')).toMatchObject({ support: 'supported', checkedAt: null });
  });

  test('is degraded, with the part and the functions, when a part of an operation lacks functions', async () => {
    const missing = ['WAWebSendEventEditMsgAction'];
    const partial = { 'messages.edit': [{ part: 'calendar events', missing }], 'chats.typing': [{ part: 'x', missing: ['Y'] }] };
    await observed(checkOf({ missing: { 'chats.archive': ['WAWebCmd.Cmd.archiveChat', 'WAWebOther'] }, partial }));
    const rows = await eventually('the check', async () => {
      const found = await read();
      return found.get('messages.edit')?.support === 'degraded' && found;
    });
    expect(rows.get('messages.edit')?.reason).toBe('Not for calendar events: WhatsApp Web has no WAWebSendEventEditMsgAction.');
    const { support, supportReason } = operations['chats.typing'];
    expect([support, rows.get('chats.typing')?.support]).toEqual(['degraded', 'degraded']);
    expect(rows.get('chats.typing')?.reason).toBe(`${supportReason} Not for x: WhatsApp Web has no Y.`);
  });

  test('keeps the last check when a report has none, and follows a newer one in a heartbeat', async () => {
    await observed(null);
    expect((await read()).get('chats.archive')?.support).toBe('unsupported');
    core.worker.selfChecks.set(core.sessionId, checkOf({ checkedAt: '2026-11-20T11:00:00.000Z' }));
    await core.worker.beat();
    expect((await read()).get('chats.archive')).toMatchObject({
      support: 'supported',
      reason: null,
      checkedAt: '2026-11-20T11:00:00.000Z',
    });
  });

  test('a check that does not match the contract costs no session its heartbeat', async () => {
    core.worker.selfChecks.set(core.sessionId, { checkedAt: 5 } as never);
    const { leases } = await core.worker.beat();
    expect(leases.map(({ sessionId }) => sessionId)).toContain(core.sessionId);
    expect((await read()).get('chats.archive')?.checkedAt).toBe('2026-11-20T11:00:00.000Z');
  });

  test('a session without essential functions is in error, and says which page it was', async () => {
    await observed(checkOf({ essential: ['WAWebSendMsgChatAction'] }));
    await core.worker.move(core.sessionId, 'error', 'WHATSAPP_WEB_CHANGED');
    const session = await eventually('the error', async () => {
      const { body } = await core.get(`/sessions/${core.sessionId}/status`);
      const status = body.data as unknown as { status: string; reason: { code: string } };
      return status.status === 'error' && status;
    });
    expect(session.reason.code).toBe('WHATSAPP_WEB_CHANGED');
  });
});

describe('every operation of the table', () => {
  const rows: Operation[] = operationIds.map((id) => operations[id]);
  const writes = rows.filter(({ effect }) => effect === 'write');
  const shapesOf = ({ params, query, body }: Operation): z.ZodObject[] => [params, query, ...(body ? [body] : [])];

  test.each(rows.map((row) => [row.id, row] as const))('%s has a permission of the table', (_id, row) => {
    expect(permissions).toContain(row.permission);
  });

  test.each(writes.map((row) => [row.id, row] as const))('%s has an example that its schema accepts', (_id, row) => {
    const route = operationRoute(row);
    const examples = [route.params, route.query, ...(route.body ? [route.body] : [])].map((shape) =>
      sampleOf(shape as z.ZodObject),
    );
    const input = Object.assign({}, ...(examples as object[])) as Record<string, unknown>;
    // What names people and chats is accepted as a recipient too.
    expect(() => withAddresses(row, input, undefined)).not.toThrow();
  });

  test.each(rows.map((row) => [row.id, row] as const))('each example of a field of %s is valid', (_id, row) => {
    for (const [name, field] of shapesOf(row).flatMap(({ shape }) => Object.entries(shape as Record<string, z.ZodType>)))
      for (const example of (field.meta()?.['examples'] as unknown[] | undefined) ?? [])
        expect([name, field.safeParse(example).success]).toEqual([name, true]);
  });
});
