import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId, requestOf, requestTypes, type AnyRoute, type MessageResource } from '@chasqui/shared';
import { z } from 'zod';
import { sendTyped } from '../src/messages/contract.js';
import { makeAccount } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/**
 * Ids in bodies, queries and headers: each place where a route takes one, read from the route contract, with an object of another session
 * or account in it. A new field that looks like an id and is not in `kinds` fails; so does a new route with such a field and no body here.
 */

type Kind = 'session' | 'message' | 'media' | 'event' | 'none';
/** What each field that is named like an id names. `none`: it names nothing that is stored, or belongs to staff, who see all. */
const kinds: Record<string, Kind> = {
  sessionId: 'session',
  session_id: 'session',
  instanceId: 'session',
  instance_id: 'session',
  phoneId: 'session',
  quotedMessageId: 'message',
  messageId: 'message',
  mediaId: 'media',
  eventId: 'event',
  // A chat of WhatsApp's, which every session may have; the list shows the caller's own messages of it.
  chatId: 'none',
  // Labels of the phone: WhatsApp knows no others.
  labelIds: 'none',
  // A filter: it matches only the caller's own messages.
  bulkJobId: 'none',
  // A filter: it matches only deliveries of the caller's own endpoints (delivery-explorer.test.ts).
  webhookId: 'none',
  // Of the account: every session sends it. Other accounts: templates.test.ts.
  templateId: 'none',
  // Of staff routes.
  accountId: 'none',
  planId: 'none',
  workerId: 'none',
};
const picture = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const send = { recipient: ana };
/** A body that is right but for the id. */
const bodies: Record<string, object> = {
  ...Object.fromEntries(requestTypes.map((type) => [sendTyped[type].id, { ...send, ...requestOf(type).example }])),
  'messages.sendGroup': { groupId: '120363041234567890@g.us', message: 'x' },
  'messages.send': { ...send, type: 'text', message: 'x' },
  'messages.sendMedia': { ...send, mediaBase64: picture },
  'bulk.create': { message: 'x', recipients: [send] },
  'bulk.check': { message: 'x', recipients: [send] },
  'stories.post': { mediaBase64: picture },
  'schedules.create': { name: 's', cron: '0 9 * * 1', message: { ...send, type: 'text', message: 'x' } },
  'sessions.init': {},
  'sessions.disconnect': {},
  'events.ticket': {},
  'webhooks.create': { url: 'https://example.com/hook', events: ['message.received'] },
  'webhooks.preview': {},
  'keys.create': { name: 'k', permissions: [] },
  'sessionKeys.create': { name: 'k', permissions: [] },
  'groups.join': {},
  'channels.create': { name: 'News' },
  'channels.setPicture': {},
  'groups.setPicture': {},
  'profile.setPicture': {},
};

/** Filters of a list: it is empty then, because it holds only what belongs to the caller. */
const filters = new Set(['webhooks.deliveries.listAll messageId']);
/** Parameters that a route needs beside the id. */
const queries: Record<string, string> = { 'events.count': '&after=00000000000001' };

interface Place {
  route: AnyRoute;
  where: 'query' | 'body';
  name: string;
}
interface Json {
  properties?: Record<string, Json>;
  anyOf?: Json[];
  oneOf?: Json[];
  allOf?: Json[];
}

/** Names of the fields of a schema at its first level, in every branch of a union. */
function namesOf(schema: z.ZodType): string[] {
  const walk = ({ properties = {}, anyOf = [], oneOf = [], allOf = [] }: Json): string[] => [
    ...Object.keys(properties),
    ...[...anyOf, ...oneOf, ...allOf].flatMap(walk),
  ];
  return [...new Set(walk(z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as Json))];
}
const looksLikeId = (name: string): boolean => /(^id|Ids?|_ids?)$/.test(name);

function placesOf(routes: readonly AnyRoute[]): Place[] {
  return routes.flatMap((route) =>
    (['query', 'body'] as const).flatMap((where) =>
      namesOf(route[where])
        .filter(looksLikeId)
        .map((name) => ({ route, where, name })),
    ),
  );
}

describe.each(await databases())('ids in bodies, queries and headers on %s', (database) => {
  let core: Core;
  let sibling: { session: string; key: string };
  let stranger: string;
  const victim = { session: '', message: '', whatsappId: '', media: '', mediaMessage: '', event: '' };
  const codeOf = ({ status, body }: Reply): unknown[] => [status, body.error?.code];

  beforeAll(async () => {
    core = await startCore({ database });
    victim.session = core.sessionId;
    const session = ((await core.post('/sessions', { name: 'sibling' })).body.data as { id: string }).id;
    await core.post(`/sessions/${session}/connect`, {});
    await core.worker.link(session);
    const made = await core.post(`/sessions/${session}/keys`, { name: 'sibling', permissions: ['*'] });
    sibling = { session, key: (made.body.data as { key: string }).key };
    stranger = (await makeAccount(core.rig)).key;
    const text = dataOf(await core.send('of the victim'));
    const image = dataOf(await core.post('/messages/send-media', { recipient: ana, mediaBase64: picture }));
    Object.assign(victim, {
      message: text.id,
      whatsappId: text.whatsappId!,
      media: (image.content!['media'] as { id: string }).id,
      mediaMessage: image.id,
      event: await eventually(
        'an event',
        async () => ((await core.events('message.sent'))[0] as { id?: string } | undefined)?.id,
      ),
    });
  }, 60_000);
  afterAll(async () => core?.close());

  const valueOf: Record<Exclude<Kind, 'none'>, () => string> = {
    session: () => victim.session,
    message: () => victim.message,
    media: () => victim.media,
    event: () => victim.event,
  };
  const ask = ({ route, where, name }: Place, key: string, value: string): Promise<Reply> => {
    const path = route.path.replace(':sessionId', 'current');
    const base = { ...bodies[route.id] };
    // One way to give the file only.
    if (name === 'mediaId') {
      Object.assign(base, { mediaBase64: undefined, message: undefined });
      if (/^(messages|bulk)\./.test(route.id)) Object.assign(base, { type: 'image' });
    }
    const body = where === 'body' ? { ...base, [name]: value } : route.consumes === 'none' ? undefined : base;
    return core.rig.call(
      route.method.toUpperCase(),
      where === 'query' ? `${path}?${name}=${value}${queries[route.id] ?? ''}` : path,
      {
        key,
        ...(body ? { body } : {}),
      },
    );
  };

  test('every field that looks like an id is known, and every route that accepts one in its body has a body here', () => {
    const places = placesOf(core.rig.routes);
    expect(places.filter(({ name }) => !Object.hasOwn(kinds, name)).map(({ route, name }) => `${route.id} ${name}`)).toEqual([]);
    const withBody = places.filter(
      ({ where, name, route }) => where === 'body' && kinds[name] !== 'none' && route.auth !== 'adm',
    );
    expect(withBody.filter(({ route }) => !bodies[route.id]).map(({ route }) => route.id)).toEqual([]);
    expect(withBody.length).toBeGreaterThan(10);
  });

  test('the id of another session’s or account’s object gets the same reply in each place as an id that does not exist', async () => {
    let asked = 0;
    for (const place of placesOf(core.rig.routes)) {
      const kind = kinds[place.name]!;
      const { route, name, where } = place;
      if (kind === 'none' || !['key', 'acc'].includes(route.auth)) continue;
      const about = [route.id, where, name];
      for (const [who, key] of [['sibling', sibling.key] as const, ['stranger', stranger] as const]) {
        const isRefused = who === 'sibling' && route.auth === 'acc';
        // A stranger has no session through which anything could be sent, whatever else the request names.
        if (who === 'stranger' && (kind === 'message' || kind === 'media')) continue;
        const answer = await ask(place, key, valueOf[kind]());
        if (filters.has(`${route.id} ${name}`)) {
          expect([...about, who, answer.status, answer.body.data]).toEqual([...about, who, 200, []]);
          continue;
        }
        expect([...about, who, ...codeOf(answer)]).toEqual([
          ...about,
          who,
          isRefused ? 403 : 404,
          isRefused ? 'ACCOUNT_KEY_REQUIRED' : expect.stringMatching(/_NOT_FOUND$/),
        ]);
        if (isRefused) continue;
        const never = await ask(place, key, newId(Date.now()));
        expect([...about, who, never.status, never.body.error?.code]).toEqual([...about, who, ...codeOf(answer)]);
        expect(JSON.stringify(answer.body)).not.toContain('of the victim');
        asked += 1;
      }
    }
    expect(asked).toBeGreaterThan(20);
  });

  test('the same places accept the caller’s own: a file, a quote and an event of its session', async () => {
    const own = dataOf(
      await core.rig.call('POST', '/messages/send-media', { key: sibling.key, body: bodies['messages.sendMedia'] }),
    );
    const media = (own.content!['media'] as { id: string }).id;
    const call = (path: string, body: object): Promise<Reply> => core.rig.call('POST', path, { key: sibling.key, body });
    expect((await call('/messages/send-media', { ...send, mediaId: media })).status).toBe(200);
    expect((await call('/messages/send-text', { ...send, message: 'x', quotedMessageId: own.id })).status).toBe(200);
    // An account key reaches the files of all sessions, and quotes only in the session that it sends through.
    expect((await core.post('/messages/send-media', { ...send, mediaId: media })).status).toBe(200);
    expect(codeOf(await core.send('x', { quotedMessageId: own.id }))).toEqual([404, 'MESSAGE_NOT_FOUND']);
    expect((await core.send('x', { quotedMessageId: own.id, sessionId: sibling.session })).status).toBe(200);
  });

  test('X-Session-Id of another session is refused wherever it is read', async () => {
    const headers = { 'X-Session-Id': victim.session };
    for (const [method, path, body] of [
      ['POST', '/messages/send-text', { ...send, message: 'x' }],
      ['GET', '/sessions/status', undefined],
      ['GET', '/messages/quota', undefined],
      ['POST', '/sessions/init', {}],
      ['POST', '/sessions/disconnect', {}],
      ['GET', `/messages/${victim.message}`, undefined],
      ['POST', `/messages/${victim.message}/cancel`, {}],
    ] as const)
      for (const key of [sibling.key, stranger])
        expect([path, ...codeOf(await core.rig.call(method, path, { key, headers, ...(body ? { body } : {}) }))]).toEqual([
          path,
          404,
          'SESSION_NOT_FOUND',
        ]);
  });

  test('WhatsApp’s id names one message: its direction counts in every route, and a bare key that is ambiguous is refused', async () => {
    const sent = dataOf(await core.send('from one session to the other'));
    const key = sent.whatsappId!.split('_')[2]!;
    const message = core.inbound('from one session to the other', { key, whatsappId: `false_5511988887777@c.us_${key}` });
    await core.worker.emit(sibling.session, 'message.observed', { message, origin: 'live' });
    const inbound = await eventually('it to arrive', async () =>
      ((await core.get(`/messages?sessionId=${sibling.session}&direction=inbound`)).body.data as MessageResource[]).find(
        ({ text }) => text === sent.text,
      ),
    );
    const outward = `true_${ana}@c.us_${key}`;
    const inward = `false_5511988887777@c.us_${key}`;
    for (const path of ['', '/timeline'])
      for (const [ref, id] of [[outward, sent.id] as const, [inward, inbound.id] as const]) {
        const reply = await core.get(`/messages/${ref}${path}`);
        expect([ref, path, reply.status]).toEqual([ref, path, 200]);
        if (path === '') expect((reply.body.data as MessageResource).id).toBe(id);
      }
    // What may be done to one of them is not done to the other.
    for (const verb of ['retry', 'cancel']) expect(codeOf(await core.post(`/messages/${inward}/${verb}`, {}))[0]).toBe(409);
    expect(codeOf(await core.get(`/messages/${key}`))).toEqual([409, 'SESSION_REQUIRED']);
    for (const [session, id] of [[victim.session, sent.id] as const, [sibling.session, inbound.id] as const]) {
      const named = await core.rig.call('GET', `/messages/${key}`, { headers: { 'X-Session-Id': session } });
      expect((named.body.data as MessageResource).id).toBe(id);
    }
    // The key that is bound to the other session has one message of that key, in one direction.
    expect((await core.rig.call('GET', `/messages/${key}`, { key: sibling.key })).body.data).toMatchObject({ id: inbound.id });
    expect(codeOf(await core.rig.call('GET', `/messages/${outward}`, { key: sibling.key }))).toEqual([404, 'MESSAGE_NOT_FOUND']);
  });

  test('a webhook is read, changed, tested and rotated only with every permission of its events', async () => {
    const makeKey = async (permissions: string[]): Promise<string> =>
      ((await core.post('/keys', { name: 'k', permissions })).body.data as { key: string }).key;
    const hook = (
      (await core.post('/webhooks', { url: 'https://hook.invalid/', events: ['message.received', 'session.status'] })).body
        .data as { id: string }
    ).id;
    const ofSession = (
      (await core.post(`/sessions/${victim.session}/webhooks`, { url: 'https://hook.invalid/', events: ['message.*'] })).body
        .data as { id: string }
    ).id;
    const weak = await makeKey(['webhook.configure', 'webhook.test', 'instance.info']);
    const enough = await makeKey(['webhook.configure', 'webhook.test', 'instance.info', 'messages.receive', 'messages.send']);
    const routes = core.rig.routes.filter(({ path }) =>
      /^\/webhooks\/:webhookId|^\/sessions\/:sessionId\/webhook(\/|$)/.test(path),
    );
    expect(routes.length).toBeGreaterThan(15);
    for (const route of routes) {
      if (route.id === 'sessionWebhook.create') continue;
      const path = route.path
        .replace(':webhookId', hook)
        .replace(':sessionId', victim.session)
        .replace(':deliveryId', newId(Date.now()));
      const body: Record<string, object> = {
        'webhooks.update': { url: 'https://thief.invalid/' },
        'sessionWebhook.update': { url: 'https://thief.invalid/' },
        'webhooks.redeliver': { failed: true },
      };
      const reply = await core.rig.call(route.method.toUpperCase(), path, {
        key: weak,
        ...(route.consumes === 'none' ? {} : { body: body[route.id] ?? {} }),
      });
      expect([route.id, ...codeOf(reply), reply.body.error?.details]).toEqual([
        route.id,
        403,
        'PERMISSION_DENIED',
        { permission: expect.stringMatching(/^messages\./) },
      ]);
    }
    const ids = async (key: string): Promise<string[]> =>
      ((await core.rig.call('GET', '/webhooks', { key })).body.data as { id: string }[]).map(({ id }) => id);
    expect(await ids(weak)).not.toEqual(expect.arrayContaining([hook]));
    expect(await ids(enough)).toEqual(expect.arrayContaining([hook, ofSession]));
    const moved = await core.rig.call('PUT', `/webhooks/${hook}`, { key: enough, body: { url: 'https://elsewhere.invalid/' } });
    expect([moved.status, (moved.body.data as { url: string }).url]).toEqual([200, 'https://elsewhere.invalid/']);
  });
});
