/* eslint-disable max-lines -- both kinds of streams go through the same list of cases */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import http from 'node:http';
import { eventTypes, type EventResource } from '@chasqui/shared';
import { Account } from '../src/accounts/account.entity.js';
import { updateRows } from '../src/db/rows.js';
import { createEvents, type NewEvent } from '../src/events/events.js';
import { createEventLog } from '../src/events/log.js';
import { systemClock as clock } from '../src/lib/clock.js';
import { makeAccount } from './support/account.js';
import { databases, hasPostgres, password, startRig, type Reply, type Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { readers, readSocket, readSse, type Reader } from './support/readers.js';

const listOf = (reply: Reply): EventResource[] => reply.body.data as EventResource[];
const nextOf = (reply: Reply): string => reply.body.meta!['nextCursor'] as string;
const withKey = (key: string) => ({ headers: { authorization: `ApiKey ${key}` } });

/** Appends through a second hand on the same database, as another backend would; `rig` hears of it by its own means only. */
function writer(rig: Rig) {
  const events = createEvents({ clock });
  return {
    heal: (accountId: string, sessionId: string | null, reason = 'test') =>
      rig.database.write.run((tx) =>
        events.append(tx, { accountId, sessionId, type: 'session.heal', data: { step: 'probe', reason, ok: true } }),
      ),
    append: (event: NewEvent) => rig.database.write.run((tx) => events.append(tx, event)),
  };
}

describe.each(await databases())('the event log on %s', (database) => {
  let core: Core;
  let mine: string;
  beforeAll(async () => {
    core = await startCore({ database });
    mine = ((await core.get('/auth/me')).body.data as { id: string }).id;
  });
  afterAll(() => core?.close());

  const makeKey = async (body: object) =>
    (await core.post('/keys', { name: 'reader', ...body })).body.data as { key: string; id: string };

  test('is read on from a cursor, page by page, without a gap or a repeat', async () => {
    const write = writer(core.rig);
    for (let number = 0; number < 25; number += 1) await write.heal(mine, core.sessionId, String(number));
    const all = listOf(await core.get('/events?limit=200'));
    const seen: EventResource[] = [];
    for (let after = ''; ;) {
      const page = await core.get(`/events?limit=7&after=${after}`);
      if (listOf(page).length === 0) break;
      seen.push(...listOf(page));
      after = nextOf(page);
    }
    expect(seen).toEqual(all);
    expect(seen.length).toBeGreaterThan(25);
    expect((await core.get('/events')).body.meta!['latestCursor']).toBe(all.at(-1)!.cursor);
  });

  test('knows every type by its name, its family and its alternative names', async () => {
    const types = async (names: string) =>
      new Set(listOf(await core.get(`/events?limit=200&types=${names}`)).map(({ type }) => type));
    expect(await types('instance.status')).toEqual(new Set(['session.status']));
    expect(await types('connection.update,session.created')).toEqual(new Set(['session.status', 'session.created']));
    const families = await types('session.*');
    expect(families).toEqual(new Set(listOf(await core.get('/events?limit=200')).map(({ type }) => type)));
    for (const type of eventTypes) expect((await core.get(`/events?types=${type}`)).status).toBe(200);
    const unknown = await core.get('/events?types=session.status,session.statsu');
    expect([unknown.status, unknown.body.error?.details['fields']]).toMatchObject([
      422,
      [{ path: 'types', code: 'UNKNOWN_EVENT_TYPE' }],
    ]);
  });

  test('returns to a reader of rare events a cursor that advances with the log', async () => {
    const first = await core.get('/events?types=group.updated');
    expect([listOf(first), nextOf(first)]).toEqual([[], first.body.meta!['latestCursor']]);
    const event = await writer(core.rig).heal(mine, core.sessionId);
    const filtered = await core.get(`/events?types=session.heal&after=${nextOf(first)}`);
    expect(listOf(filtered).map(({ id }) => id)).toEqual([event.id]);
  });

  test('of one session contains that session’s events and no others, in the order of its sequence', async () => {
    const other = (await core.post('/sessions', { name: `other-${database}` })).body.data as { id: string };
    await writer(core.rig).heal(mine, other.id);
    const found = listOf(await core.get(`/sessions/${other.id}/events`));
    expect(found.map(({ type, sequence }) => [type, sequence])).toEqual([
      ['session.created', 1],
      ['session.heal', 2],
    ]);
    expect(listOf(await core.get(`/events?sessionId=other-${database}&types=session.heal`))).toEqual([found[1]]);
    const bound = await makeKey({ permissions: ['*'], sessionId: other.id });
    expect(listOf(await core.rig.call('GET', '/events?limit=200', { key: bound.key }))).toEqual(found);
    const foreign = await core.rig.call('GET', `/events?sessionId=${core.sessionId}`, { key: bound.key });
    expect([foreign.status, foreign.body.error?.code]).toEqual([404, 'SESSION_NOT_FOUND']);
  });

  test('returns one event by its id to permitted callers only', async () => {
    const event = await writer(core.rig).heal(mine, core.sessionId);
    expect((await core.get(`/events/${event.id}`)).body.data).toMatchObject({ id: event.id, type: 'session.heal' });
    const stranger = await makeAccount(core.rig);
    const { key: blind } = await makeKey({ permissions: ['events.read', 'messages.receive'] });
    for (const key of [stranger.key, blind]) {
      const refused = await core.rig.call('GET', `/events/${event.id}`, { key });
      expect([refused.status, refused.body.error?.code]).toEqual([404, 'EVENT_NOT_FOUND']);
      const listed = listOf(await core.rig.call('GET', '/events?limit=200&types=session.*', { key }));
      expect(listed).toEqual([]);
    }
  });

  test('answers a long poll when its event comes, and an empty page when none does', async () => {
    const { body } = await core.get('/events?limit=1');
    const after = body.meta!['latestCursor'] as string;
    const polling = core.get(`/events?after=${after}&types=message.queued&wait=20`);
    // An event that the poll does not ask for does not answer it.
    await core.post('/sessions', { name: `noise-${database}` });
    await core.send('hello', { async: true });
    expect(listOf(await polling).map(({ type }) => type)).toEqual(['message.queued']);
    const none = await core.get(`/events?after=${after}&types=group.updated&wait=0.05`);
    expect([none.status, listOf(none)]).toEqual([200, []]);
    expect((await core.get('/events?wait=31')).status).toBe(422);
  });

  test('a long poll whose key is revoked meanwhile gets no event', async () => {
    const { key, id } = await makeKey({ permissions: ['*'] });
    const { body } = await core.get('/events?limit=1');
    const polling = core.rig.call('GET', `/events?after=${body.meta!['latestCursor'] as string}&types=session.created&wait=20`, {
      key,
    });
    await eventually('the poll to be authenticated', async () =>
      ((await core.get('/keys')).body.data as { id: string; lastUsedAt: string | null }[]).some(
        (row) => row.id === id && row.lastUsedAt,
      ),
    );
    await core.rig.call('DELETE', `/keys/${id}`);
    await core.post('/sessions', { name: `late-${database}` });
    expect((await polling).status).toBe(401);
  });

  test('reports a gap that retention made instead of skipping it', async () => {
    let kept = 0;
    const log = createEventLog({ database: core.rig.database, clock }, { oldestAvailable: async () => kept });
    const reading = { accountId: mine, permissions: ['*'], sessionId: null, types: null };
    const all = (await log.page(reading, null, 200)).events;
    const third = Number(all[2]!.cursor);
    kept = third;
    const refusal = { code: 'CURSOR_EXPIRED', details: { oldestCursor: String(third - 1).padStart(14, '0') } };
    await expect(log.page(reading, third - 2, 5)).rejects.toMatchObject(refusal);
    // The cursor that the refusal names is where to start: nothing that is kept is skipped, and it is not refused again.
    expect((await log.page(reading, third - 1, 1)).events).toEqual([all[2]]);
    expect((await log.page(reading, null, 1)).events).toHaveLength(1);
  });

  test('a code that has run out is not shown any more', async () => {
    const code = { qrId: 'a', qrCode: 'data:', qrText: 'secret', replaces: null };
    const write = writer(core.rig);
    const at = (ms: number) => new Date(Date.now() + ms).toISOString();
    const common = { accountId: mine, sessionId: core.sessionId, type: 'session.qr' as const };
    const old = await write.append({ ...common, data: { ...code, expiresAt: at(-1) } });
    const fresh = await write.append({ ...common, data: { ...code, expiresAt: at(60_000) } });
    expect((await core.get(`/events/${old.id}`)).body.data).toMatchObject({ data: { qrText: null, qrCode: null, qrId: 'a' } });
    expect((await core.get(`/events/${fresh.id}`)).body.data).toMatchObject({ data: { qrText: 'secret' } });
  });
});

describe.each((await databases()).flatMap((database) => Object.keys(readers).map((framing) => [database, framing] as const)))(
  'a stream on %s by %s',
  (database, framing) => {
    const read = readers[framing as keyof typeof readers];
    const isSocket = framing === 'WebSocket';
    let core: Core;
    let mine: string;
    const open: Reader[] = [];
    beforeAll(async () => {
      core = await startCore({
        database,
        settings: { MAX_STREAMS_PER_KEY: '3', INIT_WAIT_MS: '50' },
        streamTimes: { beatMs: 200, pingMs: 4_000, checkMs: 100, stallMs: 1_000 },
      });
      mine = ((await core.get('/auth/me')).body.data as { id: string }).id;
    });
    afterEach(() => {
      for (const reader of open.splice(0)) reader.cut();
    });
    afterAll(() => core?.close());

    const reader = async (where: Partial<Parameters<typeof read>[0]> = {}): Promise<Reader> => {
      const made = await read({ url: core.rig.url, ...withKey(core.rig.apiKey), ...where });
      open.push(made);
      // Both say where they begin before they tell anything.
      await eventually('the stream to begin', async () => made.cursor);
      return made;
    };
    const makeKey = async (permissions: string[], more: object = {}) =>
      (await core.post('/keys', { name: 'reader', permissions, ...more })).body.data as { key: string; id: string };
    const head = async () => (await core.get('/events?limit=1')).body.meta!['latestCursor'] as string;

    test('sends new events, the same as the log', async () => {
      const before = await head();
      const stream = await reader();
      const begin = stream.cursor;
      // Cursors have one length, so their texts sort as they do. What was committed meanwhile may lie between the two.
      expect(begin! >= before).toBe(true);
      await core.send('hello');
      await eventually('it to be told', async () => stream.events.some(({ type }) => type === 'message.sent'));
      const told = stream.events.length;
      expect(stream.events.slice(0, told)).toEqual(listOf(await core.get(`/events?after=${begin}`)).slice(0, told));
    });

    test('resumes behind a cursor, and refuses none that it has', async () => {
      const after = await head();
      await core.send('one');
      await core.send('two');
      const wanted = listOf(await core.get(`/events?after=${after}`));
      const stream = await reader({ after });
      await eventually('all to receive it', async () => stream.events.length === wanted.length);
      expect(stream.events).toEqual(wanted);
      const later = await reader({ after: wanted[1]!.cursor });
      await eventually('the rest to be told', async () => later.events.length === wanted.length - 2);
      expect(later.events).toEqual(wanted.slice(2));
    });

    test('keeps to types, session and permissions, event by event', async () => {
      const other = (await core.post('/sessions', { name: `other-${Date.now()}` })).body.data as { id: string };
      const bound = await makeKey(['*'], { sessionId: other.id });
      const sender = await makeKey(['events.read', 'messages.send']);
      const stranger = await makeAccount(core.rig);
      const filtered = await reader({ query: { types: 'send.message' } });
      const ofOther = await reader(withKey(bound.key));
      const ofSender = await reader(withKey(sender.key));
      const ofStranger = await reader(withKey(stranger.key));
      await core.send('hello');
      await core.post(`/sessions/${other.id}/connect`, {});
      await eventually(
        'all to receive it',
        async () => filtered.events.length > 0 && ofOther.events.length > 0 && ofSender.events.length > 1,
      );
      const after = await head();
      await eventually('the log to be scanned', async () => Number(ofStranger.cursor) >= 0 && ofStranger.events.length === 0);
      expect(new Set(filtered.events.map(({ type }) => type))).toEqual(new Set(['message.sent']));
      expect(new Set(ofOther.events.map(({ session }) => session?.id))).toEqual(new Set([other.id]));
      expect(ofSender.events.every(({ type }) => ['message.queued', 'message.sending'].includes(type))).toBe(true);
      expect(ofStranger.events).toEqual([]);
      expect(after).not.toBe('');
    });

    test('a token that a key was exchanged for receives the events that the key may read, and ends with it', async () => {
      const other = (await core.post('/sessions', { name: `bound-${Date.now()}` })).body.data as { id: string };
      const made = await makeKey(['*'], { sessionId: other.id });
      const reply = await core.rig.call('POST', '/auth/api-key', { key: null, body: { apiKey: made.key } });
      const { token } = reply.body.data as { token: string };
      const stream = await reader({ headers: { authorization: `Bearer ${token}` } });
      await core.send('not for this one');
      await core.post(`/sessions/${other.id}/connect`, {});
      await eventually('its own to be told', async () => stream.events.length > 0);
      expect(new Set(stream.events.map(({ session }) => session?.id))).toEqual(new Set([other.id]));
      await core.rig.call('DELETE', `/keys/${made.id}`);
      expect((await stream.ended).code).not.toBe(1000);
    });

    test('shows each QR live and says which one it replaces, whose text is gone from then on', async () => {
      const made = (await core.post('/sessions', { name: `live-${Date.now()}` })).body.data as { id: string };
      const stream = await reader({ query: { types: 'qrcode.updated', sessionId: made.id } });
      await core.post(`/sessions/${made.id}/connect`, {});
      await eventually('the first QR', async () => stream.events.length >= 1);
      const expiresAt = new Date(Date.now() + 20_000).toISOString();
      await core.worker.emit(made.id, 'session.qr', { qrText: 'the-second', expiresAt });
      await eventually('the second QR', async () => stream.events.at(-1)!.data['qrText'] === 'the-second');
      const [first, second] = stream.events.slice(-2).map(({ data }) => data);
      expect([first!['qrText'], second!['qrText']]).toEqual([expect.any(String), 'the-second']);
      expect(second).toMatchObject({ replaces: first!['qrId'], qrCode: expect.stringMatching(/^data:image/), expiresAt });
      expect((await core.get(`/events/${stream.events[0]!.id}`)).body.data).toMatchObject({
        data: { qrText: null, qrCode: null },
      });
      const blind = await makeKey(['events.read', 'instance.info']);
      const seen = await reader({
        ...withKey(blind.key),
        query: { sessionId: made.id },
        after: first ? String(Number(stream.events[0]!.cursor) - 1) : '',
      });
      await core.worker.link(made.id);
      await eventually('what follows', async () => seen.events.some(({ type }) => type === 'session.status'));
      expect(seen.events.some(({ type }) => type === 'session.qr')).toBe(false);
    });

    test('keeps its line open while nothing happens', async () => {
      const stream = await reader();
      if (isSocket) {
        let pings = 0;
        (stream as Awaited<ReturnType<typeof readSocket>>).socket.on('ping', () => (pings += 1));
        await eventually('pings', async () => pings >= 1);
      } else await eventually('comments', async () => stream.others.filter((line) => line === 'still here').length >= 2);
    });

    test('is opened by a ticket, once, and no wider than the ticket', async () => {
      const maker = await makeKey(['*']);
      const ticket = async (body: object = {}) =>
        ((await core.rig.call('POST', '/ws/ticket', { key: maker.key, body })).body.data as { ticket: string }).ticket;
      const first = await ticket({ types: ['message.queued'] });
      const stream = await reader({ headers: {}, query: { ticket: first } });
      await core.send('hello');
      await eventually('the event', async () => stream.events.length > 0);
      expect(new Set(stream.events.map(({ type }) => type))).toEqual(new Set(['message.queued']));
      if (isSocket) {
        const again = await readSocket({ url: core.rig.url, query: { ticket: first } });
        expect(await again.ended).toEqual({ code: 4401, reason: 'UNAUTHENTICATED' });
      } else await expect(readSse({ url: core.rig.url, query: { ticket: first } })).rejects.toMatchObject({ status: 401 });
      // Nor does a ticket open anything else.
      expect((await core.rig.call('GET', `/events?ticket=${await ticket()}`, { key: null })).status).toBe(401);
      // The line stands on the key that made the ticket.
      await core.rig.call('DELETE', `/keys/${maker.id}`);
      await stream.ended;
    });

    test.each([
      ['its key is revoked', 'UNAUTHENTICATED', 4401],
      ['its account is switched off', 'ACCOUNT_INACTIVE', 4403],
      ['the password behind its token is changed', 'UNAUTHENTICATED', 4401],
    ])('is closed at once when %s', async (what, reason, code) => {
      const stranger = await makeAccount(core.rig);
      const caller = { key: stranger.key };
      const { email } = (await core.rig.call('GET', '/auth/me', caller)).body.data as { email: string };
      const login = await core.rig.call('POST', '/auth/login', { key: null, body: { email, password } });
      const token = (login.body.data as { token: string }).token;
      const byToken = what.includes('token');
      const made = (await core.rig.call('POST', '/keys', { ...caller, body: { name: 'x', permissions: ['*'] } })).body.data as {
        key: string;
        id: string;
      };
      const stream = await reader(byToken ? { headers: { authorization: `Bearer ${token}` } } : withKey(made.key));
      const started = performance.now();
      if (byToken)
        expect(
          (
            await core.rig.call('POST', '/auth/me/password', {
              key: null,
              headers: { authorization: `Bearer ${token}` },
              body: { currentPassword: password, newPassword: `${password} and more` },
            })
          ).status,
        ).toBe(200);
      else if (what.includes('key')) await core.rig.call('DELETE', `/keys/${made.id}`, caller);
      else await core.rig.database.write.run((tx) => updateRows(tx, Account, { id: stranger.id }, { isActive: false }));
      const ended = await stream.ended;
      // At once, or with the next time that the credential is checked; a busy machine needs longer than either.
      expect(performance.now() - started).toBeLessThan(15_000);
      if (isSocket) expect(ended).toEqual({ code, reason });
      else expect(ended.reason).toContain(reason);
    });

    test('of one key are limited in number; closing one allows another', async () => {
      const { key } = await makeKey(['*']);
      const three = [await reader(withKey(key)), await reader(withKey(key)), await reader(withKey(key))];
      if (isSocket) {
        const fourth = await readSocket({ url: core.rig.url, ...withKey(key) });
        expect(await fourth.ended).toEqual({ code: 1013, reason: 'RATE_LIMITED' });
      } else
        await expect(readSse({ url: core.rig.url, ...withKey(key) })).rejects.toMatchObject({
          status: 429,
          body: { error: { details: { scope: 'streams', limit: 3 } } },
        });
      three[0]!.cut();
      await eventually('room', () => reader(withKey(key)).catch(() => null));
    });

    test('whose reader stops reading is disconnected, slows no other, and resumes without a gap', async () => {
      const begin = await head();
      const slow = await reader();
      const quick = await reader();
      slow.stall();
      const write = writer(core.rig);
      const big = 'x'.repeat(200_000);
      for (let number = 0; number < 60; number += 1) await write.heal(mine, core.sessionId, `${number}${big}`);
      // A page has at most 4 MiB, so that there are several.
      const wanted: string[] = [];
      for (let page = [begin]; page.length > 0; wanted.push(...page))
        page = listOf(await core.get(`/events?after=${wanted.at(-1) ?? begin}&limit=200`)).map(({ cursor }) => cursor);
      expect(wanted.length).toBeGreaterThanOrEqual(60);
      // On a busy machine there are further events, such as that of a worker that was late.
      const last = wanted.at(-1)!;
      const has = ({ events }: Reader): boolean => events.some(({ cursor }) => cursor === last);
      await eventually('the other one to have all', async () => has(quick));
      await eventually(
        'the slow one to be let go',
        async () =>
          core.rig.lines.some(
            (line) => line.includes('A stream was closed because its reader did not read') && line.includes('TOO_SLOW'),
          ),
        15_000,
      );
      const resumed = await reader({ after: slow.cursor });
      await eventually('the rest', async () => has(resumed));
      const told = [...slow.events, ...resumed.events].map(({ cursor }) => cursor);
      expect(told.slice(0, wanted.length)).toEqual(wanted);
      expect(quick.events.slice(0, wanted.length).map(({ cursor }) => cursor)).toEqual(wanted);
      slow.cut();
    });
  },
);

describe('the WebSocket', () => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({
      settings: { MAX_STREAMS_PER_KEY: '3' },
      streamTimes: { beatMs: 200, pingMs: 1_000, checkMs: 100, stallMs: 60_000 },
    });
  });
  afterAll(() => core?.close());
  const connect = (
    options: { headers?: Record<string, string>; subscribe?: false; query?: Record<string, string>; after?: string } = {},
  ) => readSocket({ url: core.rig.url, ...withKey(core.rig.apiKey), subscribe: false, ...options });
  const says = (socket: Awaited<ReturnType<typeof connect>>, type: string) =>
    eventually(`a frame ${type}`, async () =>
      socket.others.map((text) => JSON.parse(text) as { type: string }).find((frame) => frame.type === type),
    );

  test('answers a ping, refuses invalid frames by name, and continues', async () => {
    const socket = await connect();
    socket.say('{');
    expect(await says(socket, 'error')).toMatchObject({ code: 'MALFORMED_REQUEST' });
    socket.others.length = 0;
    socket.say({ type: 'subscribe', types: ['nonsense'] });
    expect(await says(socket, 'error')).toMatchObject({
      code: 'VALIDATION_FAILED',
      message: expect.stringContaining('nonsense'),
    });
    socket.others.length = 0;
    socket.say({ type: 'subscribe', sessionId: 'nowhere' });
    expect(await says(socket, 'error')).toMatchObject({ code: 'SESSION_NOT_FOUND' });
    socket.say({ type: 'ping' });
    await says(socket, 'pong');
    socket.say({ type: 'subscribe', types: ['message.queued'] });
    await says(socket, 'ready');
    await core.send('one');
    await eventually('the event', async () => socket.events.length === 1);
    // A subscription that is refused ends no other.
    socket.others.length = 0;
    socket.say({ type: 'subscribe', sessionId: 'nowhere' });
    expect(await says(socket, 'error')).toMatchObject({ code: 'SESSION_NOT_FOUND' });
    await core.send('still followed');
    await eventually('the next event', async () => socket.events.length === 2);
    socket.say({ type: 'unsubscribe' });
    socket.others.length = 0;
    socket.say({ type: 'ping' });
    await says(socket, 'pong');
    await core.send('two');
    socket.others.length = 0;
    socket.say({ type: 'ping' });
    await says(socket, 'pong');
    expect(socket.events).toHaveLength(2);
    socket.cut();
  });

  test('says which field of a frame is not valid, and why', async () => {
    const socket = await connect();
    socket.say({ type: 'subscribe', types: ['a\0b'] });
    expect(await says(socket, 'error')).toMatchObject({
      code: 'VALIDATION_FAILED',
      details: { fields: [{ path: 'types.0', code: 'INVALID_CHARACTER' }] },
    });
    socket.cut();
  });

  test('ends a connection that is dead, also one that follows nothing', async () => {
    const dead = await Promise.all([1, 2, 3].map(() => connect()));
    const refused = await connect();
    expect((await refused.ended).code).toBe(1013);
    // They read nothing any more, so they answer no ping either.
    for (const socket of dead) socket.stall();
    const next = async (): Promise<boolean> => {
      const socket = await connect();
      socket.say({ type: 'ping' });
      const isOpen = await Promise.race([says(socket, 'pong').then(() => true), socket.ended.then(() => false)]);
      socket.cut();
      return isOpen;
    };
    await eventually('room for another connection', next);
    for (const socket of dead) socket.cut();
  });

  test.each([
    ['without a credential', {}, 4401],
    ['with a wrong key', { authorization: `ApiKey chq_${'0'.repeat(49)}` }, 4401],
    ['with two credentials', { authorization: 'ApiKey a', 'x-api-key': 'b' }, 4401],
  ])('is closed with a code %s', async (_what, headers, code) => {
    expect((await (await connect({ headers })).ended).code).toBe(code);
  });

  test('is closed with 4403 for a key that may not read events, and a key in the URL opens nothing', async () => {
    const { key } = (await core.post('/keys', { name: 'x', permissions: ['messages.send'] })).body.data as { key: string };
    expect((await (await connect(withKey(key))).ended).code).toBe(4403);
    expect((await (await connect({ headers: {}, query: { ticket: core.rig.apiKey } })).ended).code).toBe(4401);
  });

  test('a request that offers another protocol is answered like any other, body and all', async () => {
    const body = JSON.stringify({ recipient: '5511999990001', message: 'x', async: true });
    const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const request = http.request(
        `${core.rig.url}/api/v1/messages/send-text`,
        {
          method: 'POST',
          agent: false,
          headers: {
            ...withKey(core.rig.apiKey).headers,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            connection: 'Upgrade, HTTP2-Settings',
            upgrade: 'h2c',
            'http2-settings': 'AAMAAABkAAQAAP__',
          },
        },
        (response) => {
          const chunks: string[] = [];
          response.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text: chunks.join('') }));
        },
      );
      request.on('error', reject);
      request.end(body);
    });
    expect([answer.status, JSON.parse(answer.text)]).toMatchObject([202, { success: true }]);
  });

  test('a stop ends streams, sockets and long polls at once, each with a word', async () => {
    const own = await startRig();
    const socket = await readSocket({ url: own.url, ...withKey(own.apiKey) });
    const silent = await readSocket({ url: own.url, ...withKey(own.apiKey), subscribe: false });
    const stream = await readSse({ url: own.url, ...withKey(own.apiKey) });
    const { latestCursor } = (await own.call('GET', '/events?limit=1')).body.meta as { latestCursor: string };
    const poll = own.call('GET', `/events?after=${latestCursor}&wait=30`);
    await eventually('both to be open', async () => socket.cursor && stream.cursor);
    const started = performance.now();
    await own.close();
    // The long poll alone would wait for 30 s.
    expect(performance.now() - started).toBeLessThan(20_000);
    expect([await socket.ended, await silent.ended]).toEqual([
      { code: 1001, reason: 'SHUTTING_DOWN' },
      { code: 1001, reason: 'SHUTTING_DOWN' },
    ]);
    expect((await stream.ended).reason).toContain('SHUTTING_DOWN');
    expect([200, 503]).toContain((await poll).status);
  });
});

((await hasPostgres()) ? describe : describe.skip)('two backends on one PostgreSQL', () => {
  let first: Core;
  let second: Rig;
  beforeAll(async () => {
    first = await startCore({ database: 'postgres' });
    second = await startRig({ settings: { DATABASE_URL: first.rig.databaseUrl!, SEND_WAIT_MS: '20000' } });
  });
  afterAll(async () => {
    await second?.close();
    await first?.close();
  });
  const here = () => withKey(first.rig.apiKey);

  test('a commit of one reaches the other’s streams and long polls within a moment', async () => {
    const streams = [await readSse({ url: second.url, ...here() }), await readSocket({ url: second.url, ...here() })];
    await eventually('them to begin', async () => streams.every(({ cursor }) => cursor));
    const times: number[] = [];
    for (let number = 0; number < 20; number += 1) {
      const text = `wake-${number}`;
      const poll = second.call('GET', `/events?after=${streams[0]!.cursor}&types=message.queued&wait=10`, {
        key: first.rig.apiKey,
      });
      await first.send(text, { async: true });
      const started = performance.now();
      const has = ({ events }: Reader) => events.some(({ type, data }) => type === 'message.queued' && data['text'] === text);
      await eventually(`${text} on both`, async () => streams.every(has));
      times.push(performance.now() - started);
      expect(listOf(await poll).length).toBeGreaterThan(0);
    }
    times.sort((a, b) => a - b);
    // Typically a few milliseconds; with the poll alone half of them would need more than 500 ms.
    expect(times[9]).toBeLessThan(250);
    for (const stream of streams) stream.cut();
  });

  test('a line that the server breaks is made again, and nothing stays unheard', async () => {
    const query = { types: 'session.created' };
    const stream = await readSse({ url: second.url, ...here(), query });
    await eventually('it to begin', async () => stream.cursor);
    const before = stream.cursor;
    for (let round = 0; round < 3; round += 1) {
      await first.rig.database.reader.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'chasqui wake'",
      );
      await first.post('/sessions', { name: `broken-${round}` });
    }
    const wanted = listOf(await first.get(`/events?types=session.created&after=${before}`));
    expect(wanted).toHaveLength(3);
    await eventually('all to receive it', async () => stream.events.length === wanted.length);
    expect(stream.events).toEqual(wanted);
    expect(second.lines.some((line) => line.includes('Lost the notification connection to the other backends'))).toBe(true);
    stream.cut();
  });

  test('a change on one backend wakes a waiter on the other', async () => {
    // The second backend accepts and waits; the first one's dispatcher may be the one that sends.
    const sent = await Promise.all(
      Array.from({ length: 6 }, () =>
        second.call('POST', '/messages/send-text', { key: first.rig.apiKey, body: { recipient: '5511999990001', message: 'x' } }),
      ),
    );
    expect(sent.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 200));
  });
});
