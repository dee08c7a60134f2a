import { exampleIds, exampleOf, operationIds, operations, parameterExampleOf, withSoon, type AnyRoute } from '@chasqui/shared';
import { loginOf } from './account.js';
import { password, type Reply } from './backend.js';
import { startCore, type Core } from './core.js';
import { eventually } from './eventually.js';
import { startSink } from './sink.js';
import { thumbnail } from './thumbnail.js';

/** A whole backend with one of everything that a route needs, and the examples of all requests. */

const endsLogins = ['auth.logout', 'auth.password', 'auth.regenerateKey'];

export interface RouteWorld {
  core: Core;
  /** The headers of the first admin's login. */
  admin: Record<string, string>;
  /** Creates what one request of the route needs, and returns the values of its path parameters. */
  idsFor(route: AnyRoute): Promise<Record<string, string>>;
  /** The ids in example bodies. */
  ids: Record<string, string>;
  /** Sends one request as the documentation prints it. `values`: of the path's parameters; absent: those of `idsFor`. */
  send(route: AnyRoute, body: unknown, values?: Record<string, string>): Promise<Reply>;
  close(): Promise<void>;
}

/** Routes that go on writing for as long as the caller listens, and the upgrade of a connection. */
const streams = new Set(['events.stream', 'events.socket']);

export async function startRouteWorld(options: Parameters<typeof startCore>[0] = {}): Promise<RouteWorld> {
  const files = await startSink((req, res) => {
    const isPdf = req.url === '/invoice.pdf';
    res.setHeader('content-type', isPdf ? 'application/pdf' : 'image/gif');
    res.end(isPdf ? '%PDF-1.4\n%%EOF\n' : Buffer.from(gif, 'base64'));
  });
  const world: World = await makeWorld(files.url, options);
  return {
    ...world,
    send: async (route, body, values) => send(world, route, body, values ?? (await world.idsFor(route))),
    async close() {
      await world.core.close();
      await files.close();
    },
  };
}

type World = Omit<RouteWorld, 'send' | 'close'> & { filesUrl: string };

async function makeWorld(filesUrl: string, options: NonNullable<Parameters<typeof startCore>[0]>): Promise<World> {
  const core = await startCore({
    ...options,
    settings: { EGRESS_ALLOW: '127.0.0.1/32', MAX_SESSIONS: '200', SEND_WAIT_MS: '4000', ...options.settings },
  });
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
    filesUrl,
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
function fitted(body: unknown, { core, ids, filesUrl }: World, route: AnyRoute): unknown {
  let text = withSoon(JSON.stringify(body), new Date());
  for (const [name, id] of Object.entries(ids)) text = text.replaceAll(exampleIds[name as keyof typeof exampleIds], id);
  text = text
    .replaceAll('https://example.com/hook', `${core.rig.url}/health`)
    .replaceAll('https://example.com/invoice.pdf', `${filesUrl}/invoice.pdf`)
    .replaceAll('https://example.com/picture.jpg', `${filesUrl}/picture.gif`)
    .replaceAll('chq_…', core.rig.apiKey);
  if (route.id === 'auth.login' || route.id === 'auth.signIn')
    text = text.replaceAll('ana@example.com', core.rig.firstAdmin!.email);
  // The number of the session that is linked already.
  if (route.id === 'sessions.pairingCode') text = text.replaceAll('5511988887777', '5511988880001');
  return JSON.parse(text.replaceAll('correct horse battery', password)) as unknown;
}

async function send(world: World, route: AnyRoute, body: unknown, values: Record<string, string>): Promise<Reply> {
  const path = route.path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name]!));
  const query = Object.entries(exampleOf(route.query, 'input') as Record<string, unknown>).map(([name, value]) => [
    name,
    String(value),
  ]);
  const isPersons = ['pwd', 'stf', 'adm'].includes(route.auth);
  // The route ends its login.
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

/** The password and the keys of the account change last. What ends other things comes after them. Messages whose outcome is arranged come first: another message would get it. */
const order: readonly (readonly string[])[] = [
  ['messages.retry', 'messages.resolve'],
  [],
  ['sessionWebhook.delete', 'sessionWebhook.clear'],
  ['admin.workers.change', 'sessions.disconnect', 'sessions.stop', 'sessions.restart'],
  ['auth.logout'],
  ['auth.regenerateKey'],
  ['auth.password'],
];
const orderOf = ({ id }: AnyRoute): number => {
  const place = order.findIndex((ids) => ids.includes(id));
  return place === -1 ? 1 : place;
};
/** The routes that answer once, in an order in which their examples can be sent. */
export const inOrder = (routes: readonly AnyRoute[]): AnyRoute[] =>
  routes.filter(({ id }) => !streams.has(id)).sort((a, b) => orderOf(a) - orderOf(b));
