import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Contact, MessageResource, OutletEvent, SessionResource } from '@chasqui/shared';
import fc from 'fast-check';
import { runStatement } from '../src/db/statement.js';
import { loginOf } from './support/account.js';
import { hasPostgres, startRig, type Reply, type Rig } from './support/backend.js';
import { observed, quick, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/**
 * People become known by number and by LID while two backends write at once: the worker's batches arrive twice, `contacts/check` answers and
 * messages are accepted to both forms. Each person ends as one contact of each session, no message is lost, and both backends say the same.
 */

const forms = ['phone', 'lid', 'both'] as const;
type Form = (typeof forms)[number];
interface Person {
  digits: string;
  id: string;
  lid: string;
}
interface Step {
  person: number;
  session: number;
  form: Form;
}
/** What one round does, all of it at once. */
interface Round {
  batch: Step[];
  isTwice: boolean;
  /** The people whom both backends ask for, for both sessions. */
  checks: number[];
  sends: { person: number; form: Form; by: number }[];
}

const people = 6;
const person = fc.nat({ max: people - 1 });
const session = fc.nat({ max: 1 });
const form = fc.constantFrom(...forms);
const rounds = fc.array(
  fc.record({
    batch: fc.array(fc.record({ person, session, form }), { minLength: 1, maxLength: 14 }),
    isTwice: fc.boolean(),
    checks: fc.array(person, { maxLength: 3 }),
    sends: fc.array(fc.record({ person, form, by: session }), { maxLength: 3 }),
  }),
  { minLength: 6, maxLength: 10 },
);

let made = 0;
const makePerson = (): Person => {
  made += 1;
  const digits = `55119660${String(10_000 + made)}`;
  return { digits, id: `${digits}@c.us`, lid: `2660${String(10_000_000 + made)}@lid` };
};

const contactAs = ({ digits, id, lid }: Person, as: Form): Contact => ({
  id: as === 'lid' ? lid : id,
  phone: as === 'lid' ? null : `+${digits}`,
  lid: as === 'phone' ? null : lid,
  name: null,
});

((await hasPostgres()) ? describe : describe.skip)('people of two sessions, on two backends of one PostgreSQL', () => {
  let core: Core;
  let other: Rig;
  const sessions: string[] = [];
  beforeAll(async () => {
    const settings = { JWT_SECRET: 'one secret for both backends, long enough' };
    core = await startCore({ database: 'postgres', settings });
    const second = { ...quick, ...settings, WORKER_URLS: core.worker.url, DATABASE_URL: core.rig.databaseUrl! };
    other = await startRig({ settings: second });
    const { id } = (await core.post('/sessions', { name: 'second' })).body.data as SessionResource;
    await core.post(`/sessions/${id}/connect`, {});
    await core.worker.link(id, '+5511977776666');
    sessions.push(core.sessionId, id);
  }, 60_000);
  afterAll(async () => {
    await other?.close();
    await core?.close();
  });

  /** Delivers a batch to one backend, and also to the other one if the worker did not hear the first. Resends what was not taken. */
  async function deliver(batch: readonly OutletEvent[], isTwice: boolean): Promise<void> {
    const post = (rig: Rig) => {
      core.worker.report(rig.url);
      return core.worker.post([...batch]);
    };
    const results = await Promise.all(isTwice ? [post(core.rig), post(other)] : [post(made % 2 ? other : core.rig)]);
    expect(results.flatMap(({ refused }) => refused)).toEqual([]);
    const ackCursor = Math.max(...results.map((result) => result.ackCursor));
    const rest = batch.filter(({ cursor }) => cursor > ackCursor);
    if (rest.length > 0) await deliver(rest, isTwice);
  }

  const rows = async <T extends object>(sql: string, parameters: unknown[] = []): Promise<T[]> =>
    (await runStatement<T>(core.rig.database.reader, sql, parameters, { prepare: false })).rows;
  const deadlocks = async (): Promise<number> => {
    const [row] = await rows<{ n: string }>('SELECT deadlocks AS n FROM pg_stat_database WHERE datname = current_database()');
    return Number(row!.n);
  };
  const textsOn = async (rig: Rig, sessionId: string, contact: string): Promise<(string | null)[]> => {
    const path = `/messages/list?limit=200&sessionId=${sessionId}&contact=${encodeURIComponent(contact)}`;
    const { body } = await rig.call('GET', path, { key: core.rig.apiKey });
    return (body.data as MessageResource[]).map(({ text }) => text).sort();
  };

  test('every person is one contact of each session, with every message, in every order of first messages', async () => {
    await fc.assert(
      fc.asyncProperty(rounds, async (plan: Round[]) => {
        const crowd = Array.from({ length: people }, makePerson);
        const expected = new Map<string, string[]>();
        /** What WhatsApp has told of each person. */
        const told = new Map<string, Set<Form>>();
        const note = (who: number, where: number, as: Form, text: string | null): void => {
          const key = `${who} ${where}`;
          if (text !== null) expected.set(key, [...(expected.get(key) ?? []), text]);
          told.set(key, (told.get(key) ?? new Set()).add(as));
        };
        for (const [number, { batch, isTwice, checks, sends }] of plan.entries()) {
          const events = batch.map(({ person: who, session: where, form: as }, index) => {
            const contact = contactAs(crowd[who]!, as);
            const text = `round ${number} ${index} of ${crowd[who]!.digits}`;
            note(who, where, as, text);
            const chat = { id: contact.id, type: 'private' as const, name: null };
            const message = observed(text, { chat, contact, from: contact.id });
            return core.worker.queue(sessions[where]!, 'message.observed', { message, origin: 'live' });
          });
          // Everything that was queued goes out in the batches of this test.
          const running: Promise<unknown>[] = [deliver(events, isTwice)];
          const asked = [...new Set(checks)];
          const answers = asked.map((who) => {
            const { digits } = crowd[who]!;
            return { input: digits, normalised: digits, registered: true, contact: contactAs(crowd[who]!, 'both') };
          });
          core.worker.answer.set('contacts.check', answers);
          for (const [where, sessionId] of asked.length > 0 ? sessions.entries() : []) {
            for (const who of asked) note(who, where, 'both', null);
            const body = { numbers: answers.map(({ input }) => input) };
            for (const rig of [core.rig, other])
              running.push(
                rig.call('POST', `/sessions/${sessionId}/contacts/check`, { key: core.rig.apiKey, body }).then((reply) => {
                  if (reply.status !== 200) throw new Error(JSON.stringify(reply.body));
                }),
              );
          }
          for (const [index, { person: who, form: as, by }] of sends.entries()) {
            const { lid, digits } = crowd[who]!;
            const message = `sent ${number} ${index} to ${digits}`;
            expected.set(`${who} 0`, [...(expected.get(`${who} 0`) ?? []), message]);
            const body = { recipient: as === 'lid' ? lid : digits, message, async: true, sessionId: sessions[0] };
            running.push(
              (by ? other : core.rig).call('POST', '/messages/send-text', { key: core.rig.apiKey, body }).then((reply) => {
                if (reply.status !== 202) throw new Error(JSON.stringify(reply.body));
              }),
            );
          }
          await Promise.all(running);
        }
        for (const [key, seen] of told) {
          const [who, where] = key.split(' ').map(Number) as [number, number];
          const { id, lid, digits } = crowd[who]!;
          const isJoined = seen.has('both');
          const owners = await rows<{ contactId: string; id: string | null; phone: string | null; lid: string | null }>(
            `SELECT f."contactId", c.id, c.phone, c.lid FROM contact_forms f LEFT JOIN contacts c ON c.id = f."contactId"
              WHERE f."sessionId" = ? AND f."waId" IN (?, ?)`,
            [sessions[where]!, id, lid],
          );
          expect(owners.filter((owner) => owner.id === null)).toEqual([]);
          if (!isJoined) continue;
          expect(owners.map((owner) => [owner.phone, owner.lid])).toEqual([
            [digits, lid],
            [digits, lid],
          ]);
          expect(new Set(owners.map(({ contactId }) => contactId)).size).toBe(1);
          for (const rig of [core.rig, other])
            for (const form of [digits, lid])
              expect([form, await textsOn(rig, sessions[where]!, form)]).toEqual([form, (expected.get(key) ?? []).sort()]);
        }
        // No row of the table is without an id, so that none is left of two that were joined.
        expect(await rows(`SELECT id FROM contacts WHERE id NOT IN (SELECT "contactId" FROM contact_forms)`)).toEqual([]);
      }),
      { numRuns: 4, endOnFailure: true },
    );
    expect(await deadlocks()).toBe(0);
  });

  test('both backends name a person alike once the cached names have expired, whichever of them learned the name', async () => {
    const who = makePerson();
    const shown = async (rig: Rig): Promise<Contact[]> => {
      const { body } = await rig.call('GET', `/messages/list?contact=${who.digits}`, { key: core.rig.apiKey });
      return (body.data as MessageResource[]).map(({ contact }) => contact!);
    };
    const tell = (as: Form, text: string) => {
      const contact = contactAs(who, as);
      const chat = { id: contact.id, type: 'private' as const, name: null };
      return deliver(
        [
          core.worker.queue(sessions[0]!, 'message.observed', {
            message: observed(text, { chat, contact, from: contact.id }),
            origin: 'live',
          }),
        ],
        false,
      );
    };
    await tell('phone', 'by number');
    await tell('lid', 'by LID');
    for (const rig of [core.rig, other]) await shown(rig);
    await tell('both', 'by both');
    const named = { ...contactAs(who, 'both'), name: 'Named at last' };
    await deliver([core.worker.queue(sessions[0]!, 'contact.observed', { contact: named })], false);
    for (const rig of [core.rig, other])
      await eventually('three messages of the person', async () => {
        const contacts = await shown(rig);
        return contacts.length === 3 && contacts.every((one) => JSON.stringify(one) === JSON.stringify(named));
      });
  });

  describe.each(['the account', 'the session', 'an erasure'])('after %s removed a name on one backend, the other', (by) => {
    const key = (): string => core.rig.apiKey;
    const storage = async (mode: string): Promise<Reply> =>
      by === 'the session'
        ? core.rig.call('PUT', `/sessions/${sessions[0]!}`, { body: { settings: { storage: mode } } })
        : core.rig.call('PATCH', '/auth/me', { ...(await loginOf(core.rig)), body: { storage: mode } });
    const send = async (who: Person): Promise<string> => {
      const body = { recipient: who.digits, message: 'Hello', sessionId: sessions[0]!, queueIfOffline: true };
      const reply = await other.call('POST', '/messages/send-text', { key: key(), body });
      expect(reply.status).toBeLessThan(300);
      return (reply.body.data as MessageResource).id;
    };
    const nameOf = async (id: string): Promise<string | null> =>
      ((await other.call('GET', `/messages/${id}`, { key: key() })).body.data as MessageResource).contact!.name;
    const say = async (who: Person, name: string | null): Promise<void> => {
      core.worker.report(other.url);
      const contact = { ...contactAs(who, 'both'), name };
      await core.worker.post([core.worker.queue(sessions[0]!, 'contact.observed', { contact })]);
    };
    const remove = async (who: Person): Promise<void> => {
      if (by !== 'an erasure') return void expect((await storage('metadata')).status).toBe(200);
      const body = { contact: who.digits, confirm: who.digits };
      const { id } = (await core.rig.call('POST', '/privacy/erasures', { key: key(), body })).body.data as { id: string };
      await eventually('the erasure', async () => {
        const { status } = (await core.get(`/privacy/erasures/${id}`)).body.data as { status: string };
        expect(status).not.toBe('failed');
        return status === 'done';
      });
    };
    /** Both backends have the name in their caches. */
    const named = async (): Promise<{ who: Person; message: string }> => {
      const who = makePerson();
      await say(who, marked);
      const message = await send(who);
      await eventually('the message to be settled', async () => {
        const { status } = (await core.get(`/messages/${message}`)).body.data as MessageResource;
        return !['queued', 'sending'].includes(status);
      });
      expect(await nameOf(message)).toBe(marked);
      return { who, message };
    };
    const marked = 'Zacharias';
    const lastCursor = async (): Promise<string> => (await core.get('/events?limit=1')).body.meta!['latestCursor'] as string;
    afterEach(async () => {
      if (by !== 'an erasure') expect((await storage('full')).status).toBe(200);
    });

    test('replies without it', async () => {
      const { who, message } = await named();
      await remove(who);
      if (by === 'an erasure') expect(await nameOf(await send(who))).toBeNull();
      else expect(await nameOf(message)).toBeNull();
    });

    test('publishes no event with it', async () => {
      const { who } = await named();
      await remove(who);
      const after = await lastCursor();
      await send(who);
      const events = (await core.get(`/events?limit=200&after=${after}`)).body.data as { type: string }[];
      expect(events.map(({ type }) => type)).toContain('message.queued');
      expect(JSON.stringify(events)).not.toContain(marked);
    });

    test('publishes no report of the worker with it', async () => {
      const { who } = await named();
      await remove(who);
      const after = await lastCursor();
      core.worker.report(other.url);
      const contact = { ...contactAs(who, 'phone'), name: null };
      const call = { callId: `call-${who.digits}`, contact, isVideo: false, isGroup: false, at: new Date().toISOString() };
      await core.worker.post([core.worker.queue(sessions[0]!, 'call.received', call as never)]);
      const events = (await core.get(`/events?limit=200&after=${after}`)).body.data as { type: string }[];
      expect(events.map(({ type }) => type)).toContain('call.received');
      expect(JSON.stringify(events)).not.toContain(marked);
    });

    // An erased person who writes again is a new contact.
    if (by === 'an erasure') return;
    test('stores no name that the worker still reports', async () => {
      const { who } = await named();
      const next = makePerson();
      // The limits of the account are in the cache of this backend.
      await say(next, null);
      await remove(who);
      await say(next, marked);
      expect(await rows('SELECT name FROM contacts WHERE name IS NOT NULL AND "sessionId" = ?', [sessions[0]!])).toEqual([]);
    });
  });

  test('names are removed and people are erased while batches name them, without a deadlock', async () => {
    const crowd = Array.from({ length: people }, makePerson);
    const login = await loginOf(core.rig);
    let isOver = false;
    const storage = async (mode: string): Promise<number> =>
      (await core.rig.call('PATCH', '/auth/me', { ...login, body: { storage: mode } })).status;
    const changes = (async () => {
      const statuses: number[] = [];
      for (let turn = 0; !isOver; turn += 1) {
        statuses.push(await storage(turn % 2 ? 'full' : 'metadata'));
        const erased = await other.call('POST', '/privacy/erasures', {
          key: core.rig.apiKey,
          body: { contact: crowd[turn % people]!.digits, confirm: crowd[turn % people]!.digits },
        });
        statuses.push(erased.status);
      }
      return statuses;
    })();
    for (let round = 0; round < 40; round += 1) {
      const order = round % 2 ? [0, 1] : [1, 0];
      const events = order.flatMap((where) =>
        crowd.map((who) => {
          const contact = { ...contactAs(who, 'both'), name: `Name ${round}` };
          return core.worker.queue(sessions[where]!, 'contact.observed', { contact });
        }),
      );
      await deliver(events, round % 3 === 0);
    }
    isOver = true;
    expect((await changes).filter((status) => status >= 400)).toEqual([]);
    expect(await storage('full')).toBe(200);
    expect(await deadlocks()).toBe(0);
  }, 120_000);
});
