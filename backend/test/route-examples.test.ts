import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  exampleIds,
  exampleOf,
  operationIds,
  operations,
  parameterExampleOf,
  requestExamplesOf,
  withSoon,
  type AnyRoute,
} from '@chasqui/shared';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { loginOf } from './support/account.js';
import { password, type Reply } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';
import { normalised, shapeOf } from './support/reply-example.js';
import { root } from './support/source.js';
import { thumbnail } from './support/thumbnail.js';

/**
 * Every example of a request, sent as the documentation prints it, to a whole backend. Only ids and addresses of things that a reader has to have
 * first are replaced by some that exist here. The replies are compared with their schemas, and with the stored examples of replies:
 * `UPDATE_EXAMPLES=1 npm test -- backend/test/route-examples` stores those of this run.
 */

const storedFile = join(root, 'backend/static/reply-examples.json');
const isUpdate = process.env['UPDATE_EXAMPLES'] === '1';

/** Routes whose example cannot succeed here, each with the reason. The error must be one that the route declares. */
const refused: Record<string, string> = {
  'sessions.passkey': 'Only a session that WhatsApp asks for a passkey has one.',
  'sessions.answerPasskey': 'The same.',
  'keys.claim': 'Only the successor of a rotated key is collected.',
  'sessionKeys.claim': 'The same.',
  'bulk.retry': 'Only a job with failed messages has something to send again.',
  'auth.signOut': 'Only a request with the cookie of a sign-in has something to end.',
  'admin.backups.create': 'This backend has no BACKUP_KEY.',
  'admin.backups.read': 'There is no backup.',
  'admin.backups.file': 'The same.',
  'admin.backups.delete': 'The same.',
  'auth.register': 'Registration is closed unless the operator opens it.',
};
/** Whose reply is shown, where it is not that to the first example: a session that is linked already answers without a QR code. */
const shownExamples: Record<string, string> = { 'sessions.init': 'A named session' };
/** Routes that go on writing for as long as the caller listens, and the upgrade of a connection. */
const streams = new Set(['events.stream', 'events.socket']);

interface World {
  core: Core;
  admin: Record<string, string>;
  /** Creates what one request of the route needs, and returns the values of its path parameters. */
  idsFor(route: AnyRoute): Promise<Record<string, string>>;
  /** The ids in example bodies. */
  ids: Record<string, string>;
}

async function makeWorld(): Promise<World> {
  const core = await startCore({ settings: { EGRESS_ALLOW: '127.0.0.1/32', MAX_SESSIONS: '200', SEND_WAIT_MS: '4000' } });
  const { rig, worker } = core;
  for (const id of operationIds) worker.answer.set(id, exampleOf(operations[id].output, 'output') as never);
  const { headers: admin } = await loginOf(rig);
  const created = async (path: string, body: unknown, headers?: Record<string, string>): Promise<string> => {
    const reply = await rig.call('POST', path, { body, ...(headers ? { key: null, headers } : {}) });
    const data = reply.body.data as { id?: string; account?: { id: string } } | { id: string }[] | undefined;
    const id = Array.isArray(data) ? data[0]?.id : (data?.id ?? data?.account?.id);
    if (!id) throw new Error(`POST ${path}: ${JSON.stringify(reply.body)}`);
    return id;
  };
  let count = 0;
  const next = (): string => `made-${(count += 1)}`;
  const hook = (): object => ({ url: `${rig.url}/health`, events: ['message.*'] });
  const sent = async (more: Record<string, unknown> = {}): Promise<string> => (await core.send('Hello', more).then(dataOf)).id;
  const messageFor: Record<string, () => Promise<string>> = {
    'messages.cancel': () => sent({ scheduledAt: later }),
    'messages.reschedule': () => sent({ scheduledAt: later }),
    'messages.retry': async () => {
      worker.script({ do: 'fail', reason: 'WHATSAPP_REFUSED', retryable: false });
      const id = await sent({ async: true });
      return (await core.reaches(id, 'failed'), id);
    },
    'messages.resolve': async () => {
      worker.proves = false;
      worker.script({ do: 'uncertain' });
      const id = await sent({ async: true });
      await core.reaches(id, 'uncertain');
      return ((worker.proves = true), id);
    },
    'stories.revoke': async () => dataOf(await core.post('/sessions/current/stories', { message: 'Open until nine' })).id,
    'messages.media': async () =>
      dataOf(await core.post('/messages/send-media', { recipient: '+5511999990001', mediaBase64: gif })).id,
    'messages.thumbnail': async () => {
      const media = { id: null, mimetype: 'image/jpeg', size: 225, filename: null, sha256: null };
      const message = core.inbound('', { content: { type: 'image', media }, thumbnail });
      await worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
      return message.whatsappId;
    },
  };
  const jobFor = async ({ id }: AnyRoute): Promise<string> => {
    const body = { message: 'x', recipients: [{ recipient: '+5511999990001' }], scheduledAt: later };
    const job = await created('/messages/bulk', body);
    if (id === 'bulk.resume') await core.post(`/messages/bulk/${job}/pause`, {});
    return job;
  };
  const webhook = await created('/webhooks', hook());
  const firstWebhook = await created(`/sessions/${core.sessionId}/webhook`, hook());
  await core.reaches(await sent(), 'sent');
  const deliveryOf = (id: string): Promise<string> =>
    eventually('a delivery', async () => ((await core.get(`/webhooks/${id}/deliveries`)).body.data as { id: string }[])[0]?.id);
  const delivery = await deliveryOf(webhook);
  const firstDelivery = await deliveryOf(firstWebhook);
  const ids = {
    templateId: await created('/templates', { name: 'greeting', type: 'text', content: { message: 'Hello {{name}}' } }),
    mediaId: await created('/media', { mediaBase64: gif }),
  };
  const [event] = await core.events('message.sent');
  const exported = await created('/privacy/exports', { contact: '+5511999990001' });
  await eventually(
    'the export',
    async () => ((await core.get(`/privacy/exports/${exported}`)).body.data as { status: string }).status === 'done',
  );
  const erased = await created('/privacy/erasures', { contact: '+5511900000008', confirm: '+5511900000008' });
  const sessionFor = async ({ id, auth, method }: AnyRoute): Promise<string> => {
    const isWritten = ['sessions.delete', 'sessions.update', 'sessions.logout'].includes(id) || /^admin\.sessions\./.test(id);
    if (id === 'sessions.qr' || id === 'sessions.pairingCode') {
      const session = await created('/sessions', { name: next() });
      await core.post(`/sessions/${session}/connect`, {});
      return session;
    }
    if (id === 'sessionWebhook.create') return created('/sessions', { name: next() });
    if (isWritten && (method !== 'get' || auth === 'stf')) {
      const session = await created('/sessions', { name: next() });
      if (id === 'admin.sessions.resume') await asAdmin('POST', `/admin/sessions/${session}/suspend`, { reason: 'x' });
      if (id === 'admin.sessions.restart') await core.post(`/sessions/${session}/connect`, {});
      return session;
    }
    // As the documentation has it: the session of the key.
    return 'current';
  };
  const asAdmin = (method: string, path: string, body: unknown): Promise<Reply> =>
    rig.call(method, path, { key: null, headers: admin, body });
  const values: Record<string, (route: AnyRoute) => Promise<string> | string> = {
    sessionId: sessionFor,
    messageId: (route) => messageFor[route.id]?.() ?? sent(),
    keyId: (route) =>
      created(route.path.startsWith('/sessions') ? `/sessions/${core.sessionId}/keys` : '/keys', {
        name: next(),
        permissions: ['messages.send'],
      }),
    webhookId: (route) => (/deliveries/.test(route.path) || route.method === 'get' ? webhook : created('/webhooks', hook())),
    deliveryId: (route) => (route.id.startsWith('sessionWebhook') ? firstDelivery : delivery),
    eventId: () => (event as unknown as { id: string }).id,
    templateId: ({ id }) =>
      id === 'templates.remove'
        ? created('/templates', { name: next(), type: 'text', content: { message: 'Hi' } })
        : ids.templateId,
    mediaId: (route) => (route.method === 'delete' ? created('/media', { mediaBase64: gif }) : ids.mediaId),
    scheduleId: async (route) => {
      const message = { type: 'text', recipient: '+5511999990001', message: 'x' };
      const id = await created('/schedules', { name: next(), cron: '0 9 * * 1', message });
      if (route.id === 'schedules.resume') await core.post(`/schedules/${id}/pause`, {});
      return id;
    },
    bulkId: jobFor,
    contact: () => created('/opt-outs', { contacts: ['+5511900000009'] }),
    accountId: () => created('/admin/accounts', { username: next(), email: `${next()}@example.com` }, admin),
    planId: () => created('/admin/plans', { name: next() }, admin),
    exportId: () => exported,
    erasureId: () => erased,
    workerId: () => worker.workerId,
    jobName: () => 'qr.sweep',
  };
  return {
    core,
    admin,
    ids,
    async idsFor(route) {
      const samples = exampleOf(route.params, 'input') as Record<string, unknown>;
      const found: Record<string, string> = {};
      for (const [, name] of route.path.matchAll(/:(\w+)/g))
        found[name!] = String(!values[name!] ? parameterExampleOf(route, name!, samples[name!]) : await values[name!]!(route));
      return found;
    },
  };
}

const later = withSoon('{{soon}}T00:00:00Z', new Date());
const gif = 'R0lGODlhAQABAAAAACw=';
const dataOf = ({ body }: Reply): { id: string } => {
  if (!body.data) throw new Error(JSON.stringify(body));
  return body.data as { id: string };
};

/** Replaces what a reader has to have first: ids, a public file and a public receiver. */
function fitted(body: unknown, { core, ids }: World, route: AnyRoute): unknown {
  let text = withSoon(JSON.stringify(body), new Date());
  for (const [name, id] of Object.entries(ids)) text = text.replaceAll(exampleIds[name as keyof typeof exampleIds], id);
  text = text
    .replaceAll('https://example.com/hook', `${core.rig.url}/health`)
    .replaceAll('https://example.com/invoice.pdf', `${files.url}/invoice.pdf`)
    .replaceAll('https://example.com/picture.jpg', `${files.url}/picture.gif`)
    .replaceAll('chq_…', core.rig.apiKey);
  if (route.id === 'auth.login' || route.id === 'auth.signIn')
    text = text.replaceAll('ana@example.com', core.rig.firstAdmin!.email);
  // The number of the session that is linked already.
  if (route.id === 'sessions.pairingCode') text = text.replaceAll('5511988887777', '5511988880001');
  return JSON.parse(text.replaceAll('correct horse battery', password)) as unknown;
}

let world: World;
let files: Sink;
let stored: Record<string, unknown> = {};
const seen: Record<string, unknown> = {};
beforeAll(async () => {
  files = await startSink((req, res) => {
    const isPdf = req.url === '/invoice.pdf';
    res.setHeader('content-type', isPdf ? 'application/pdf' : 'image/gif');
    res.end(isPdf ? '%PDF-1.4\n%%EOF\n' : Buffer.from(gif, 'base64'));
  });
  world = await makeWorld();
  stored = isUpdate ? {} : (JSON.parse(readFileSync(storedFile, 'utf8')) as Record<string, unknown>);
}, 120_000);
afterAll(async () => {
  if (isUpdate) writeFileSync(storedFile, `${JSON.stringify(seen, null, 1)}\n`);
  await world?.core.close();
  await files?.close();
});

async function send(route: AnyRoute, body: unknown): Promise<Reply> {
  const values = await world.idsFor(route);
  const path = route.path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name]!));
  const query = Object.entries(exampleOf(route.query, 'input') as Record<string, unknown>).map(([name, value]) => [
    name,
    String(value),
  ]);
  const isPersons = ['pwd', 'stf', 'adm'].includes(route.auth);
  // A login of its own where it ends.
  const endsLogin = endsLogins.includes(route.id);
  const headers = !isPersons ? {} : endsLogin ? (await loginOf(world.core.rig)).headers : world.admin;
  return world.core.rig.call(
    route.method.toUpperCase(),
    query.length > 0 ? `${path}?${new URLSearchParams(query as string[][]).toString()}` : path,
    {
      ...(isPersons ? { key: null, headers } : {}),
      ...(route.auth === 'pub' ? { key: null } : {}),
      ...(route.consumes === 'none' ? {} : { body: fitted(body, world, route) }),
    },
  );
}

/** The password and the keys of the account change last. */
/** What ends other things comes after them. Messages whose outcome is arranged come first: another message would get it. */
const order: readonly (readonly string[])[] = [
  ['messages.retry', 'messages.resolve'],
  [],
  ['sessionWebhook.delete', 'sessionWebhook.clear'],
  ['admin.workers.change', 'sessions.disconnect', 'sessions.stop', 'sessions.restart'],
  ['auth.logout'],
  ['auth.regenerateKey'],
  ['auth.password'],
];
const endsLogins = ['auth.logout', 'auth.password', 'auth.regenerateKey'];
const orderOf = ({ id }: AnyRoute): number => {
  const place = order.findIndex((ids) => ids.includes(id));
  return place === -1 ? 1 : place;
};
const inOrder = (routes: readonly AnyRoute[]): AnyRoute[] =>
  routes.filter(({ id }) => !streams.has(id)).sort((a, b) => orderOf(a) - orderOf(b));

describe('the examples of requests', () => {
  test('are accepted as they are printed, and every reply fits its schema', async () => {
    const problems: unknown[] = [];
    for (const route of inOrder(world.core.rig.routes))
      for (const [words, body] of Object.entries(requestExamplesOf(route))) {
        const reply = await send(route, body);
        const isRefused = reply.status >= 400;
        if (isRefused !== route.id in refused) problems.push([route.id, words, reply.status, reply.body.error ?? reply.cause]);
        if (isRefused || (route.files.length > 0 && !route.envelope)) continue;
        const data = route.envelope ? reply.body.data : reply.body;
        const parsed = route.reply.safeParse(data);
        if (!parsed.success && typeof data !== 'string') problems.push([route.id, 'reply', parsed.error.issues.slice(0, 2)]);
        if (!(operationIds as readonly string[]).includes(route.id) && typeof data === 'object')
          if (!(route.id in seen) || words === shownExamples[route.id]) seen[route.id] = normalised(data);
      }
    expect(problems).toEqual([]);
  }, 240_000);
});

describe('the examples of replies', () => {
  test('that are stored are of routes that answered, fit their schemas, and have the fields of the answers', () => {
    if (isUpdate) return;
    expect(Object.keys(stored).length).toBeGreaterThan(100);
    expect(Object.keys(stored).filter((id) => !(id in seen))).toEqual([]);
    for (const route of world.core.rig.routes.filter(({ id }) => id in stored)) {
      expect([route.id, route.reply.safeParse(stored[route.id]).error?.issues]).toEqual([route.id, undefined]);
      expect([route.id, shapeOf(stored[route.id])]).toEqual([route.id, shapeOf(seen[route.id])]);
    }
  });

  test('that are not stored are made from their schemas, and fit them', () => {
    for (const route of world.core.rig.routes.filter(
      ({ id, files, envelope }) => !(id in stored) && !(files.length > 0 && !envelope),
    ))
      expect([route.id, route.reply.safeParse(exampleOf(route.reply, 'output')).error?.issues]).toEqual([route.id, undefined]);
  });
});

describe('the document', () => {
  interface Operation {
    operationId: string;
    requestBody?: { content: Record<string, { examples?: Record<string, { value: unknown }> }> };
    parameters: { name?: string; required?: boolean; example?: unknown; $ref?: string }[];
    responses: Record<
      string,
      { description?: string; $ref?: string; content?: Record<string, { example?: unknown; schema: { format?: string } }> }
    >;
  }
  test('has an example of every body and of every path parameter, and says what each reply is', async () => {
    const { body } = await world.core.rig.call('GET', '/openapi.json', { key: null });
    const { paths } = body as unknown as { paths: Record<string, Record<string, Operation>> };
    const all = Object.values(paths).flatMap((methods) => Object.values(methods));
    expect(all.length).toBeGreaterThan(250);
    const wrong = all.flatMap((operation) => {
      const json = operation.requestBody?.content['application/json'];
      const success = Object.entries(operation.responses).filter(([status]) => status.startsWith('2'));
      return [
        ...(json && Object.keys(json.examples ?? {}).length === 0 ? ['no example of the body'] : []),
        ...operation.parameters
          .filter(({ required, example }) => required && (example === undefined || example === 'x'))
          .map(({ name }) => `no example of ${name!}`),
        ...success.filter(([, { description }]) => (description ?? '').length < 20).map(([status]) => `${status} says nothing`),
        ...success.flatMap(([status, { content }]) =>
          // A file of that type has none.
          content?.['application/json']?.schema.format !== 'binary' &&
          content?.['application/json']?.example === undefined &&
          content?.['application/json']
            ? [`no example of ${status}`]
            : [],
        ),
      ].map((problem) => `${operation.operationId}: ${problem}`);
    });
    expect(wrong).toEqual([]);
  });

  test('has no body that begins with an invented text', () => {
    // The smallest text that a schema allows is no example.
    const isInvented = (value: unknown): boolean =>
      typeof value === 'string'
        ? /^x+$/.test(value)
        : typeof value === 'object' && value !== null && Object.values(value).some(isInvented);
    const invented = world.core.rig.routes.filter(
      (route) => route.consumes !== 'none' && Object.values(requestExamplesOf(route)).some(isInvented),
    );
    expect(invented.map(({ id }) => id)).toEqual([]);
  });

  test('shows no empty body where the route has fields', () => {
    const empty = world.core.rig.routes.filter((route) => {
      const { properties = {} } = z.toJSONSchema(route.body, { io: 'input', unrepresentable: 'any' }) as { properties?: object };
      const first = Object.values(requestExamplesOf(route));
      return (
        Object.keys(properties).length > 0 && first.length < 2 && first.every((body) => Object.keys(body as object).length === 0)
      );
    });
    expect(empty.map(({ id }) => id)).toEqual([]);
  });
});
