/* eslint-disable max-lines -- one table of places, tried with each stranger */
import { randomUUID } from 'node:crypto';
import { permissions, requestOf, requestTypes, type AnyRoute } from '@chasqui/shared';
import { afterAll, beforeAll, describe, expect, it, test } from '@jest/globals';
import { z } from 'zod';
import { ApiKey } from '../src/accounts/api-key.entity.js';
import { AuditLog } from '../src/audit/audit.entity.js';
import { updateRows } from '../src/db/rows.js';
import { sendTyped } from '../src/messages/contract.js';
import { makeAccount } from './support/account.js';
import { databases, password, serviceKey, type Reply } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { sampleOf } from './support/sample.js';

/**
 * Who reaches what, over every route that is mounted: generated from the routes themselves, so that a new one is in here by itself. Path
 * parameters and bodies are samples of the route's schemas. Only those that must name an object that exists, or that no schema can describe,
 * are in `paths` and `bodies`.
 */

const dbs = await databases();

const gif = 'R0lGODlhAQABAAAAACw=';
const recurring = { name: 'by the matrix', cron: '0 9 * * 1', message: { type: 'text', recipient: ana, message: 'x' } };
/** Valid bodies of routes for which a sample of the schema is not enough. */
const bodies: Record<string, (world: World) => object> = {
  'auth.updateMe': () => ({ timezone: 'America/Lima' }),
  'auth.password': () => ({ currentPassword: 'x', newPassword: 'another long password' }),
  'keys.create': () => ({ name: 'made by the matrix', permissions: [] }),
  'sessionKeys.create': () => ({ name: 'made by the matrix', permissions: [] }),
  'keys.update': () => ({ name: 'changed by the matrix' }),
  'sessionKeys.update': () => ({ name: 'changed by the matrix' }),
  'sessions.init': ({ session }) => ({ sessionId: session }),
  'sessions.disconnect': ({ session }) => ({ sessionId: session }),
  'sessions.create': () => ({ name: `m-${randomUUID().slice(0, 8)}` }),
  'sessions.update': () => ({ metadata: { by: 'matrix' } }),
  'sessions.pairingCode': () => ({ phoneNumber: ana }),
  'messages.sendMedia': ({ session }) => ({ sessionId: session, recipient: ana, mediaBase64: gif }),
  ...Object.fromEntries(
    requestTypes.map((type) => [
      sendTyped[type].id,
      ({ session }: World) => ({ sessionId: session, recipient: ana, ...requestOf(type).example }),
    ]),
  ),
  'messages.sendGroup': ({ session }) => ({ groupId: '120363041234567890@g.us', sessionId: session, message: 'x' }),
  'messages.send': ({ session }) => ({ type: 'text', sessionId: session, recipient: ana, message: 'x' }),
  'stories.post': () => ({ message: 'x', queueIfOffline: true }),
  'bulk.create': ({ session }) => ({ sessionId: session, message: 'x', recipients: [{ recipient: ana }] }),
  'bulk.check': ({ session }) => ({ sessionId: session, message: 'x', recipients: [{ recipient: ana }] }),
  'schedules.create': ({ session }) => ({ sessionId: session, ...recurring }),
  'schedules.update': () => ({ name: 'changed by the matrix' }),
  'messages.decideHeld': () => ({ decision: 'cancel' }),
  'messages.resolve': () => ({ as: 'sent' }),
  'events.ticket': ({ session }) => ({ sessionId: session }),
  'webhooks.create': () => ({ url: 'https://example.com/hook', events: ['message.received'] }),
  'sessionWebhooks.create': () => ({ url: 'https://example.com/hook', events: ['message.received'] }),
  'sessionWebhook.create': () => ({ url: 'https://example.com/hook', events: ['message.received'] }),
  'webhooks.update': () => ({ description: 'by the matrix' }),
  'sessionWebhook.update': () => ({ description: 'by the matrix' }),
  'webhooks.redeliver': () => ({ failed: true }),
  'webhooks.deliveries.resend': ({ deliveryId }) => ({ ids: [deliveryId] }),
  'privacy.exports.create': () => ({ contact: ana }),
  'privacy.erasures.create': () => ({ contact: '5511900000009', confirm: '5511900000009' }),
  'admin.accounts.create': () => ({ username: `m-${randomUUID().slice(0, 8)}`, email: `${randomUUID()}@example.com` }),
  'admin.accounts.change': () => ({ maxMessagesPerDay: 0 }),
  'admin.plans.create': () => ({ name: `m-${randomUUID().slice(0, 8)}` }),
  'admin.plans.change': () => ({ maxSessions: 5 }),
  'admin.workers.change': () => ({ draining: false }),
  'admin.sessions.suspend': () => ({ reason: 'matrix' }),
};
/** The objects of the first account that path parameters name. */
const paths: Record<string, (world: World) => string> = {
  sessionId: ({ session }) => session,
  messageId: ({ message }) => message,
  keyId: ({ sessionKeyId }) => sessionKeyId,
  eventId: ({ event }) => event,
  accountId: ({ accountId }) => accountId,
  planId: ({ planId }) => planId,
  workerId: ({ workerId }) => workerId,
  webhookId: ({ webhookId }) => webhookId,
  deliveryId: ({ deliveryId }) => deliveryId,
  exportId: ({ exportId }) => exportId,
  erasureId: ({ erasureId }) => erasureId,
  mediaId: ({ mediaId }) => mediaId,
  bulkId: ({ bulkId }) => bulkId,
  templateId: ({ templateId }) => templateId,
  contact: ({ optOutId }) => optOutId,
  scheduleId: ({ scheduleId }) => scheduleId,
  jobName: () => 'qr.sweep',
};
/** Whose replies hold what everybody may know, or write their reply for as long as the caller listens. */
const streams = new Set(['events.stream', 'events.socket']);
/** These change nothing that lasts, or what they change says itself who did it (docs/decisions/009). */
const notAudited = new Set([
  'events.ticket',
  'webhooks.preview',
  'templates.preview',
  'webhooks.test',
  'sessionWebhook.test',
  'sessions.backfill',
  // Sends, as those of messages.
  'stories.post',
  'messages.forward',
  'bulk.check',
]);
/** Read of another account, these say nothing of any object: they act on the caller's own. */
const withoutObject = new Set(['sessions.create', 'keys.create', 'admin.plans.create', 'admin.accounts.create']);

/** Templates and opt-outs belong to the account: a key of each of its sessions reaches them. */
const ofAccount = (id: string): boolean => /^(templates|optOuts)\./.test(id);

interface World {
  core: Core;
  accountId: string;
  session: string;
  message: string;
  event: string;
  planId: string;
  workerId: string;
  webhookId: string;
  deliveryId: string;
  exportId: string;
  erasureId: string;
  mediaId: string;
  bulkId: string;
  templateId: string;
  optOutId: string;
  scheduleId: string;
  sessionKeyId: string;
  otherSession: string;
  keys: Record<'own' | 'revoked' | 'regenerated' | 'expired' | 'otherAccount' | 'thisSession' | 'otherSession', string>;
  tokens: Record<'admin' | 'staff' | 'user' | 'oneTime' | 'regenerated', string>;
  /** Of the person `user`, who signed in with it. */
  cookie: string;
}

const wordsOf = (text: string): string[] => [...text.matchAll(/:(\w+)/g)].map(([, name]) => name!);

function pathOf(route: AnyRoute, world: World, invented = false): string {
  return route.path.replace(/:(\w+)/g, (_, name: string) => {
    if (invented) return randomUUID();
    return paths[name]?.(world) ?? encodeURIComponent(sampleParameter(route, name));
  });
}

/** A valid value of a path parameter that names no object of ours, such as a chat of WhatsApp. */
function sampleParameter(route: AnyRoute, name: string): string {
  const shape = route.params instanceof z.ZodObject ? (route.params.shape as Record<string, z.ZodType>) : {};
  if (!shape[name]) throw new Error(`The matrix does not know the parameter :${name} of ${route.id}. Add it to paths.`);
  return String(sampleOf(shape[name]));
}

/** The query parameters that a route cannot do without. */
function queryOf(route: AnyRoute): string {
  const needed = Object.entries(sampleOf(route.query) as Record<string, unknown>).map(([name, value]) => [name, String(value)]);
  return needed.length > 0 ? `?${new URLSearchParams(needed as [string, string][]).toString()}` : '';
}

/** Undefined: the route reads no body. */
function bodyOf(route: AnyRoute, world: World): object | undefined {
  const known = bodies[route.id];
  if (known) return known(world);
  if (route.consumes === 'none' || route.auth === 'pub') return undefined;
  return { ...(sampleOf(route.body) as object), ...(route.consumes === 'upload' ? { mediaBase64: gif } : {}) };
}

async function ask(world: World, route: AnyRoute, credential: Record<string, string>, invented = false): Promise<Reply> {
  const body = bodyOf(route, world);
  // A credential that is good must not keep the test waiting for events.
  return world.core.rig.call(route.method.toUpperCase(), pathOf(route, world, invented) + queryOf(route), {
    key: null,
    headers: credential,
    ...(body ? { body } : {}),
  });
}

const key = (text: string): Record<string, string> => ({ authorization: `ApiKey ${text}` });
const bearer = (text: string): Record<string, string> => ({ authorization: `Bearer ${text}` });
/** As a page of the same origin sends it. */
const cookie = (text: string): Record<string, string> => ({ cookie: text, 'sec-fetch-site': 'same-origin' });

async function makeWorld(database: 'sqlite' | 'postgres'): Promise<World> {
  const core = await startCore({ database });
  const { rig, sessionId: session } = core;
  const made = async (path: string, body: object): Promise<{ id: string; key: string }> =>
    (await core.post(path, body)).body.data as { id: string; key: string };
  const other = await made('/sessions', { name: 'other' });
  const all = { permissions: ['*'] };
  const revoked = await made('/keys', { name: 'revoked', ...all });
  await rig.call('DELETE', `/keys/${revoked.id}`);
  const regenerated = await made('/keys', { name: 'regenerated', ...all });
  const exchanged = await rig.call('POST', '/auth/api-key', { key: null, body: { apiKey: regenerated.key } });
  await made(`/keys/${regenerated.id}/regenerate`, {});
  const expired = await made('/keys', { name: 'expired', ...all });
  await rig.database.write.run((tx) => updateRows(tx, ApiKey, { id: expired.id }, { expiresAt: new Date(Date.now() - 1_000) }));
  const thisSession = await made(`/sessions/${session}/keys`, { name: 'this session', ...all });
  const otherSession = await made(`/sessions/${other.id}/keys`, { name: 'other session', ...all });
  // No host is there: only the owner matters.
  const hook = await made(`/sessions/${session}/webhooks`, { url: 'https://hook.invalid/', events: ['message.*'] });
  const { body } = await core.send('to be read by nobody else');
  const message = (body.data as { id: string }).id;
  await core.reaches(message, 'sent');
  const event = await eventually(
    'an event',
    async () => ((await core.events('message.sent'))[0] as { id?: string } | undefined)?.id,
  );
  const deliveryId = await eventually(
    'a delivery',
    async () => ((await core.get(`/webhooks/${hook.id}/deliveries`)).body.data as { id: string }[])[0]?.id,
  );

  const login = async (email: string, secret = password): Promise<string> =>
    ((await rig.call('POST', '/auth/login', { key: null, body: { email, password: secret } })).body.data as { token: string })
      .token;
  const admin = await login('admin@localhost.localdomain');
  const asAdmin = { key: null, headers: bearer(admin) };
  const person = async (role: string): Promise<string> => {
    const email = `${role}@example.com`;
    await rig.call('POST', '/admin/accounts', { ...asAdmin, body: { username: role, email, password, role } });
    return login(email);
  };
  const oneTimer = { username: 'one-timer', email: 'one-timer@example.com', role: 'admin' };
  const { oneTimePassword } = (await rig.call('POST', '/admin/accounts', { ...asAdmin, body: oneTimer })).body.data as {
    oneTimePassword: string;
  };
  const plan = await rig.call('POST', '/admin/plans', { ...asAdmin, body: { name: 'the first' } });
  const workers = await rig.call('GET', '/admin/workers', asAdmin);
  const exported = await made('/privacy/exports', { contact: ana });
  const erasure = await made('/privacy/erasures', { contact: '5511900000008', confirm: '5511900000008' });
  const upload = await made('/media', { mediaBase64: 'R0lGODlhAQABAAAAACw=' });
  const job = await made('/messages/bulk', {
    sessionId: session,
    message: 'x',
    recipients: [{ recipient: ana }],
    scheduledAt: '2099-01-01T00:00:00Z',
  });
  const template = await made('/templates', { name: 'matrix', type: 'text', content: { message: 'Hi' } });
  const optOuts = await core.post('/opt-outs', { contacts: ['5511900000009'] });
  const [optOut] = optOuts.body.data as { id: string }[];
  const schedule = await made('/schedules', { sessionId: session, ...recurring });
  const me = await core.get('/auth/me');
  const user = await person('user');
  const signedIn = await rig.call('POST', '/auth/sign-in', { key: null, body: { email: 'user@example.com', password } });
  return {
    core,
    cookie: signedIn.headers.getSetCookie()[0]!.split(';')[0]!,
    accountId: (me.body.data as { id: string }).id,
    session,
    message,
    event,
    webhookId: hook.id,
    deliveryId,
    exportId: exported.id,
    erasureId: erasure.id,
    mediaId: upload.id,
    bulkId: job.id,
    templateId: template.id,
    optOutId: optOut!.id,
    scheduleId: schedule.id,
    planId: (plan.body.data as { id: string }).id,
    workerId: (workers.body.data as { id: string }[])[0]!.id,
    sessionKeyId: thisSession.id,
    otherSession: other.id,
    keys: {
      own: rig.apiKey,
      revoked: revoked.key,
      regenerated: regenerated.key,
      expired: expired.key,
      otherAccount: (await makeAccount(rig)).key,
      thisSession: thisSession.key,
      otherSession: otherSession.key,
    },
    tokens: {
      admin,
      staff: await person('staff'),
      user,
      oneTime: await login(oneTimer.email, oneTimePassword),
      regenerated: (exchanged.body.data as { token: string }).token,
    },
  };
}

describe.each(dbs)('access of each credential to each route, on %s', (database) => {
  let world: World;
  let routes: AnyRoute[];
  beforeAll(async () => {
    world = await makeWorld(database);
    routes = [...world.core.rig.routes];
  }, 60_000);
  afterAll(async () => world?.core.close());

  const codeOf = ({ status, body }: Reply): [number, string | undefined] => [status, body.error?.code];

  test('no route hides another: fixed words come before parameters', () => {
    const segments = ({ path }: AnyRoute): string[] => path.split('/');
    const hides = (one: AnyRoute, other: AnyRoute): boolean =>
      one.method === other.method &&
      segments(one).length === segments(other).length &&
      segments(one).every((part, index) => part.startsWith(':') || part === segments(other)[index]);
    const hidden = routes.flatMap((route, at) =>
      routes.slice(0, at).flatMap((earlier) => (hides(earlier, route) ? [`${earlier.id} hides ${route.id}`] : [])),
    );
    expect(hidden).toEqual([]);
  });

  test('the matrix knows every route', () => {
    // Both throw, and name the route, when they do not know what to put into a path or a body.
    for (const route of routes) {
      expect(pathOf(route, world)).not.toContain(':');
      bodyOf(route, world);
    }
    const ids = new Set(routes.map(({ id }) => id));
    expect(Object.keys(bodies).filter((id) => !ids.has(id))).toEqual([]);
  });

  it('admits no caller without a valid credential, and says what is wrong with it', async () => {
    const wrong = {
      none: {},
      madeUp: key(`chq_${'0'.repeat(49)}`),
      nonsense: key('nonsense'),
      revoked: key(world.keys.revoked),
      regenerated: key(world.keys.regenerated),
      tokenOfRegenerated: bearer(world.tokens.regenerated),
      madeUpCookie: cookie(`chasqui_session=${'A'.repeat(43)}`),
    };
    for (const route of routes.filter(({ auth }) => auth !== 'pub')) {
      for (const [what, credential] of Object.entries({ ...wrong, service: { 'x-api-key': serviceKey } }))
        expect([route.id, what, ...codeOf(await ask(world, route, credential))]).toEqual([
          route.id,
          what,
          401,
          'UNAUTHENTICATED',
        ]);
      expect([route.id, ...codeOf(await ask(world, route, key(world.keys.expired)))]).toEqual([route.id, 401, 'KEY_EXPIRED']);
    }
    for (const route of routes.filter(({ auth }) => auth === 'pub'))
      expect([route.id, (await ask(world, route, {})).status]).not.toEqual([route.id, 401]);
  });

  it('refuses a change with the cookie of a person that another site causes, on every route', async () => {
    const forged = { cookie: world.cookie, origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
    for (const route of routes.filter(({ auth }) => auth !== 'pub'))
      expect([route.id, ...codeOf(await ask(world, route, forged))]).toEqual([route.id, 403, 'CSRF_REFUSED']);
  });

  it('lets the token of a one-time password change the password, and nothing else', async () => {
    for (const route of routes.filter(({ auth }) => auth !== 'pub')) {
      const answer = await ask(world, route, bearer(world.tokens.oneTime));
      const isAllowed = route.id === 'auth.password';
      expect([route.id, ...codeOf(answer)]).toEqual(
        // What the matrix gives as the present password is wrong.
        isAllowed ? [route.id, 401, 'INVALID_CREDENTIALS'] : [route.id, 403, 'PASSWORD_CHANGE_REQUIRED'],
      );
    }
  });

  it('denies a key that lacks one permission, and names it', async () => {
    const wanted = new Set(routes.flatMap(({ permission }) => permission ?? []));
    for (const permission of wanted) {
      const others = permissions.filter((name) => name !== permission);
      const made = await world.core.post('/keys', { name: `all but ${permission}`, permissions: others });
      const { key: lacking } = made.body.data as { key: string };
      for (const route of routes.filter((candidate) => candidate.permission === permission)) {
        const answer = await ask(world, route, key(lacking));
        expect([route.id, ...codeOf(answer), answer.body.error?.details]).toEqual([
          route.id,
          403,
          'PERMISSION_DENIED',
          { permission },
        ]);
      }
    }
  });

  it('refuses routes that need an account key, a password or a role to callers with less', async () => {
    for (const route of routes) {
      const refused = async (credential: Record<string, string>, code: string): Promise<void> =>
        expect([route.id, ...codeOf(await ask(world, route, credential))]).toEqual([route.id, 403, code]);
      if (route.auth === 'acc') await refused(key(world.keys.thisSession), 'ACCOUNT_KEY_REQUIRED');
      if (['pwd', 'stf', 'adm'].includes(route.auth)) {
        await refused(key(world.keys.own), 'PASSWORD_LOGIN_REQUIRED');
        await refused(key(world.keys.thisSession), 'PASSWORD_LOGIN_REQUIRED');
      }
      if (route.auth === 'stf')
        for (const user of [bearer(world.tokens.user), cookie(world.cookie)]) await refused(user, 'STAFF_REQUIRED');
      if (route.auth === 'adm') {
        await refused(cookie(world.cookie), 'ADMIN_REQUIRED');
        await refused(bearer(world.tokens.user), 'ADMIN_REQUIRED');
        await refused(bearer(world.tokens.staff), 'ADMIN_REQUIRED');
      }
    }
  });

  it('answers another account as if the object had never been, and shows it nothing of this one', async () => {
    const marks = [
      world.session,
      world.message,
      world.bulkId,
      world.event,
      world.accountId,
      world.sessionKeyId,
      'to be read by nobody else',
    ];
    for (const credential of [key(world.keys.otherAccount), bearer(world.tokens.user), cookie(world.cookie)])
      for (const route of routes.filter(({ auth, id }) => ['key', 'acc', 'pwd'].includes(auth) && !streams.has(id))) {
        // What acts on the caller's own account is the caller's to do; it would end this very login.
        if (route.auth === 'pwd') continue;
        const answer = await ask(world, route, credential);
        const text = JSON.stringify(answer.body);
        expect([
          route.id,
          marks.filter((mark) => text.includes(mark) && !JSON.stringify(bodyOf(route, world) ?? '').includes(mark)),
        ]).toEqual([route.id, []]);
        const names = wordsOf(route.path);
        const namesSession = JSON.stringify(bodyOf(route, world) ?? {}).includes(world.session);
        if (names.length === 0 && !namesSession) continue;
        expect([route.id, answer.status, answer.body.error?.code]).toEqual([route.id, 404, expect.stringMatching(/_NOT_FOUND$/)]);
        if (names.length === 0) continue;
        const never = await ask(world, route, credential, true);
        expect([route.id, answer.body.error]).toEqual([route.id, never.body.error]);
      }
  });

  it('grants a role nothing outside the staff routes', async () => {
    for (const route of routes.filter(
      ({ auth, path, id }) => ['key', 'acc'].includes(auth) && path.includes(':') && !withoutObject.has(id),
    )) {
      const answer = await ask(world, route, bearer(world.tokens.staff));
      expect([route.id, answer.status]).toEqual([route.id, 404]);
    }
  });

  it('keeps a session key inside its session', async () => {
    for (const route of routes.filter(({ auth, id }) => auth === 'key' && !streams.has(id) && !ofAccount(id))) {
      const answer = await ask(world, route, key(world.keys.otherSession));
      const text = JSON.stringify(answer.body);
      const sent = JSON.stringify(bodyOf(route, world) ?? {});
      expect([route.id, text.includes(world.message), text.includes('to be read by nobody else')]).toEqual([
        route.id,
        false,
        false,
      ]);
      if (wordsOf(route.path).length > 0 || sent.includes(world.session))
        expect([route.id, answer.status, answer.body.error?.code]).toEqual([route.id, 404, expect.stringMatching(/_NOT_FOUND$/)]);
    }
    // And in queries, which the loop does not fill in.
    for (const path of [
      '/messages/list',
      '/messages',
      '/events',
      '/sessions/status',
      '/messages/quota',
      '/messages/bulk',
      '/schedules',
      '/capabilities',
      '/conversations',
      '/webhooks/deliveries',
    ])
      for (const credential of [world.keys.otherSession, world.keys.otherAccount])
        expect([
          path,
          ...codeOf(await world.core.rig.call('GET', `${path}?sessionId=${world.session}`, { key: credential })),
        ]).toEqual([path, 404, 'SESSION_NOT_FOUND']);
  });

  it('is shut to an account that was switched off, in every scheme, and opens again', async () => {
    const { rig } = world.core;
    const asAdmin = { key: null, headers: bearer(world.tokens.admin) };
    const found = await rig.call('GET', '/admin/accounts?search=user%40example.com', asAdmin);
    const [{ id }] = found.body.data as [{ id: string }];
    const change = (isActive: boolean): Promise<Reply> =>
      rig.call('PATCH', `/admin/accounts/${id}`, { ...asAdmin, body: { isActive } });
    expect((await change(false)).status).toBe(200);
    for (const route of routes.filter(({ auth }) => auth !== 'pub'))
      for (const credential of [bearer(world.tokens.user), cookie(world.cookie)])
        expect([route.id, ...codeOf(await ask(world, route, credential))]).toEqual([route.id, 403, 'ACCOUNT_INACTIVE']);
    await change(true);
    expect((await rig.call('GET', '/auth/me', { key: null, headers: bearer(world.tokens.user) })).status).toBe(200);
  });

  test('the change of a credential is in the audit log, on every route that changes something', async () => {
    const { rig } = world.core;
    const count = (): Promise<number> => rig.database.reader.getRepository(AuditLog).count();
    const silent: string[] = [];
    const changing = routes.filter(
      ({ method, auth, id }) =>
        method !== 'get' && !['pub', 'svc'].includes(auth) && !/^(auth|messages\.send)/.test(id) && !notAudited.has(id),
    );
    // What removes the objects that the others need comes last, and of those the smaller ones first.
    const last = ['delete', 'remove', 'logout', 'erasures'];
    const rank = ({ id, method, path }: AnyRoute): number =>
      method === 'delete' || last.some((word) => id.includes(word)) ? 100 - path.length / 100 : 0;
    const tried: string[] = [];
    for (const route of [...changing].sort((one, other) => rank(one) - rank(other))) {
      const before = await count();
      const credential = ['pwd', 'stf', 'adm'].includes(route.auth) ? bearer(world.tokens.admin) : key(world.keys.own);
      const { status } = await ask(world, route, credential);
      if (status >= 300) continue;
      tried.push(route.id);
      if ((await count()) === before) silent.push(route.id);
    }
    expect(silent).toEqual([]);
    expect(tried.length).toBeGreaterThan(35);
  });
});
