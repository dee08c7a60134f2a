import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseColumn } from '../src/db/unreadable.js';
import { isSameAccount, type SessionStatusResource, type WhatsappAccount } from '@chasqui/shared';
import fc from 'fast-check';
import { linkOf } from '../src/sessions/linked-account.js';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** A message leaves only as the WhatsApp account that it was accepted for, unless a person decides otherwise. */

const phones = ['+5511988887777', '+5511977776666', '+5511966665555'] as const;

describe.each(await databases())('a session that is linked to another WhatsApp account on %s', (database) => {
  let core: Core;
  let linked: string = phones[0];
  const leftOf = (id: string) => core.worker.left.filter((left) => left.messageId === id);
  const isHeld = async (id: string): Promise<boolean> => (await core.message(id)).reason?.code === 'SESSION_IDENTITY_CHANGED';
  const decide = (decision: string) => core.post(`/sessions/${core.sessionId}/held-messages`, { decision });

  const unlink = async (): Promise<void> => {
    core.worker.sessions.get(core.sessionId)!.phoneNumber = null;
    await core.worker.move(core.sessionId, 'disconnected', 'LOGGED_OUT_BY_PHONE');
  };
  const link = async (phone: string): Promise<void> => {
    const { body } = await core.post('/sessions/init');
    expect((body.data as SessionStatusResource).status).toBe('qr_pending');
    await core.worker.link(core.sessionId, phone);
    linked = phone;
  };
  const queued = async (text: string): Promise<string> => dataOf(await core.send(text, { async: true, queueIfOffline: true })).id;
  /** Accepts a message whose outcome is unknown: it may have been sent. */
  const sendUncertain = async (text: string): Promise<string> => {
    core.worker.proves = false;
    core.worker.script({ do: 'uncertain' });
    const { id } = dataOf(await core.send(text));
    await core.reaches(id, 'uncertain');
    return id;
  };

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  test('waiting and uncertain messages are held with the reason, and are sent as the new account only after a person decides', async () => {
    const uncertain = await sendUncertain('may have left as the first account');
    await unlink();
    const waiting = [await queued('one'), await queued('two')];
    await link(phones[1]);
    for (const id of [...waiting, uncertain]) await eventually(`${id} to be held`, () => isHeld(id));
    expect(await Promise.all(waiting.map(async (id) => (await core.message(id)).status))).toEqual(['queued', 'queued']);
    const lookups = core.worker.operations.filter(({ operation }) => operation === 'session.lookup').length;
    // Those behind them go on, as the new account.
    const { id: fresh } = dataOf(await core.send('from the second account'));
    expect(leftOf(fresh)[0]?.command.account?.phoneNumber).toBe(phones[1]);
    for (const id of [...waiting, uncertain]) expect(leftOf(id)).toEqual([]);
    expect(core.worker.operations.filter(({ operation }) => operation === 'session.lookup')).toHaveLength(lookups);
    expect((await core.events('session.identity_changed')).map(({ data }) => data)).toEqual([
      { previous: { phoneNumber: phones[0], lid: null }, current: { phoneNumber: phones[1], lid: null } },
    ]);

    expect((await decide('send')).body.data).toEqual({ messages: 2, uncertain: 1 });
    for (const id of waiting) await core.reaches(id, 'sent');
    expect(waiting.map((id) => leftOf(id).length)).toEqual([1, 1]);
    expect((await core.message(waiting[0]!)).fromNumber).toBe(phones[1].slice(1));
    expect(leftOf(uncertain)).toEqual([]);
    await core.post(`/messages/${uncertain}/resolve`, { as: 'retry' });
    await core.reaches(uncertain, 'sent');
    expect(leftOf(uncertain)).toHaveLength(1);
  });

  test('a person may cancel them instead; linked again to the same account nothing is held', async () => {
    await unlink();
    const waiting = await queued('not any more');
    await link(phones[2]);
    await eventually('it to be held', () => isHeld(waiting));
    expect((await decide('cancel')).body.data).toEqual({ messages: 1, uncertain: 0 });
    expect((await core.message(waiting)).status).toBe('cancelled');
    await unlink();
    const same = await queued('the same account');
    await link(phones[2]);
    await core.reaches(same, 'sent');
    expect((await decide('send')).body.data).toEqual({ messages: 0, uncertain: 0 });
    expect((await core.post(`/sessions/${core.sessionId}/held-messages`, { decision: 'maybe' })).status).toBe(422);
  });

  test('when the worker notices first, nothing is sent, and the message continues when the account is the right one', async () => {
    core.worker.pageOf.set(core.sessionId, '+5511900000000');
    const { id } = dataOf(await core.send('early', { async: true }));
    await eventually('the refusal', async () => (await isHeld(id)) && (await core.message(id)).status === 'queued');
    expect(leftOf(id)).toEqual([]);
    core.worker.pageOf.set(core.sessionId, linked);
    await core.reaches(id, 'sent');
    expect(leftOf(id)).toHaveLength(1);
  });

  test('linked again by a pairing code it is the same account or another one, as by a QR code, and the code is gone from the log', async () => {
    core.worker.pageOf.delete(core.sessionId);
    const pair = async (phone: string): Promise<void> => {
      expect(((await core.post('/sessions/init')).body.data as SessionStatusResource).status).toBe('qr_pending');
      const { status, body } = await core.post(`/sessions/${core.sessionId}/pairing-code`, { phoneNumber: phone });
      const { code, expiresAt } = body.data as { code: string; expiresAt: string };
      expect([status, code]).toEqual([200, 'ABCD1234']);
      const expires = new Date(Date.parse(expiresAt) + 60_000).toISOString();
      await core.worker.emit(core.sessionId, 'session.pairing_code', { code, phoneNumber: phone, expiresAt: expires });
      const codes = async () => (await core.events('session.pairing_code')).map(({ data }) => data['code']);
      expect((await codes()).at(-1)).toBe(code);
      // As WhatsApp may report it: without the sign, and before the hidden id is known.
      await core.worker.link(core.sessionId, phone.slice(1));
      linked = phone;
      expect(new Set(await codes())).toEqual(new Set([null]));
    };
    await unlink();
    const same = await queued('for the account that comes back');
    await pair(linked);
    await core.reaches(same, 'sent');
    const before = (await core.events('session.identity_changed')).length;
    await unlink();
    const other = await queued('for the account that is gone');
    const next = phones.find((phone) => phone !== linked)!;
    await pair(next);
    await eventually('it to be held', () => isHeld(other));
    expect(await core.events('session.identity_changed')).toHaveLength(before + 1);
    expect((await decide('send')).body.data).toEqual({ messages: 1, uncertain: 0 });
    await core.reaches(other, 'sent');
    expect(leftOf(other)[0]?.command.account?.phoneNumber?.replace('+', '')).toBe(next.slice(1));
  });

  test('back at its former account: what was held stays held, says so truthfully, and the history names each account', async () => {
    const [first, second] = [linked, phones.find((phone) => phone !== linked)!];
    const receive = (text: string) =>
      core.worker.emit(core.sessionId, 'message.observed', { message: core.inbound(text), origin: 'live' });
    await receive('to the first account');
    const earlier = dataOf(await core.send('as the first account')).id;
    const uncertain = await sendUncertain('perhaps as the first account');
    await unlink();
    const waiting = await queued('for the first account');
    await link(second);
    for (const id of [waiting, uncertain]) await eventually(`${id} to be held`, () => isHeld(id));
    await receive('to the second account');
    const between = dataOf(await core.send('as the second account')).id;
    await unlink();
    const ofSecond = await queued('for the second account');
    await link(first);
    await eventually('it to be held', () => isHeld(ofSecond));
    const fresh = dataOf(await core.send('as the first account again')).id;
    for (const id of [waiting, uncertain, ofSecond]) {
      expect(leftOf(id)).toEqual([]);
      // The present account is the one that two of them were accepted for, so nothing may say that it is another one.
      expect((await core.message(id)).reason?.message).not.toMatch(/ is linked to another/);
    }
    const numbers = async (ids: string[]) => Promise.all(ids.map(async (id) => (await core.message(id)).fromNumber));
    expect(await numbers([earlier, between, fresh])).toEqual([first, second, first].map((phone) => phone.slice(1)));
    const { body } = await core.get('/messages/list?direction=inbound&order=asc&limit=200');
    expect((body.data as { text: string }[]).map(({ text }) => text).filter((text) => text.startsWith('to the'))).toEqual([
      'to the first account',
      'to the second account',
    ]);
    expect((await decide('send')).body.data).toEqual({ messages: 2, uncertain: 1 });
    for (const id of [waiting, ofSecond]) {
      await core.reaches(id, 'sent');
      expect([leftOf(id).length, (await core.message(id)).fromNumber]).toEqual([1, first.slice(1)]);
    }
    expect(leftOf(uncertain)).toEqual([]);
    await core.post(`/messages/${uncertain}/resolve`, { as: 'sent' });
    expect((await decide('cancel')).body.data).toEqual({ messages: 0, uncertain: 0 });
  });

  test('an account that is found again under its LID is the same, whatever its number', async () => {
    const told = {
      status: 'connected',
      reason: null,
      pushName: null,
      platform: null,
      attempt: 0,
      whatsappWebVersion: null,
    } as const;
    const observe = (phoneNumber: string, lid: string) =>
      core.worker.emit(core.sessionId, 'session.observed', { ...told, phoneNumber, lid, compat: [] });
    await observe(linked, '77001122@lid');
    await observe('+5511955554444', '77001122:3@lid');
    const before = (await core.events('session.identity_changed')).length;
    core.worker.pageOf.set(core.sessionId, '+5511955554444');
    expect(dataOf(await core.send('a new number')).status).toBe('sent');
    expect(await core.events('session.identity_changed')).toHaveLength(before);
  });
});

describe('which account it is', () => {
  const user = fc.integer({ min: 1_000_000, max: 1_000_003 }).map(String);
  const account: fc.Arbitrary<WhatsappAccount> = fc.record({
    phoneNumber: fc.option(fc.tuple(fc.constantFrom('', '+'), user).map((parts) => parts.join(''))),
    lid: fc.option(fc.tuple(user, fc.constantFrom('@lid', ':12@lid')).map((parts) => parts.join(''))),
  });

  test('the comparison does not depend on the order, and a form in common decides for the same account', () => {
    fc.assert(
      fc.property(account, account, (a, b) => {
        expect(isSameAccount(a, b)).toBe(isSameAccount(b, a));
        const known = a.phoneNumber !== null || a.lid !== null;
        expect(isSameAccount(a, a)).toBe(known ? true : null);
      }),
    );
  });

  test('the number grows with every account that is certainly another one, and with nothing else', () => {
    fc.assert(
      fc.property(fc.array(account, { maxLength: 12 }), (seen) => {
        let session: Parameters<typeof linkOf>[0] = { linkedAccount: null, linkedAccountNumber: 1, phoneNumber: null };
        for (const next of seen) {
          const before = session;
          const link = linkOf(session, next);
          session = { ...session, ...link?.changes };
          const isOther = before.linkedAccount !== null && isSameAccount(before.linkedAccount, next) === false;
          expect(session.linkedAccountNumber).toBe(before.linkedAccountNumber + (isOther ? 1 : 0));
          expect(link?.isOther ?? false).toBe(isOther);
          // What is known is the account that was seen last.
          if (session.linkedAccount && (next.phoneNumber !== null || next.lid !== null))
            expect(isSameAccount(session.linkedAccount, next)).toBe(true);
        }
      }),
    );
  });

  test('a damaged account is replaced by what is observed, and the number in its own column tells whether it is another one', () => {
    const damaged = { linkedAccount: parseColumn('{') as never, linkedAccountNumber: 3 };
    const observed = { phoneNumber: '5511999990001', lid: null };
    const of = (phoneNumber: string | null) => linkOf({ ...damaged, phoneNumber }, observed);
    expect(of(null)).toEqual({ changes: { linkedAccount: observed, linkedAccountNumber: 3 }, isOther: false });
    expect(of('5511988880002')).toEqual({ changes: { linkedAccount: observed, linkedAccountNumber: 4 }, isOther: true });
    expect(of('5511999990001')).toEqual({ changes: { linkedAccount: observed, linkedAccountNumber: 3 }, isOther: false });
  });
});
