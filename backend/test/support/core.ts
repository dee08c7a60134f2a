import type { MessageResource, ObservedMessage, SessionStatusResource } from '@chasqui/shared';
import { startRig, serviceKey, type Reply, type Rig } from './backend.js';
import { eventually } from './eventually.js';
import { startStandIn, type StandIn } from './worker.js';

/** A whole backend with a stand-in worker, and the calls that scenarios are made of. */

export const ana = '5511999990001';

export interface Core {
  rig: Rig;
  worker: StandIn;
  /** Of the linked session. */
  sessionId: string;
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Reply>;
  get(path: string): Promise<Reply>;
  send(message: string, more?: Record<string, unknown>, headers?: Record<string, string>): Promise<Reply>;
  message(id: string): Promise<MessageResource>;
  reaches(id: string, ...statuses: string[]): Promise<MessageResource>;
  session(): Promise<SessionStatusResource>;
  inbound(text: string, more?: Partial<ObservedMessage>): ObservedMessage;
  events(types?: string): Promise<{ type: string; data: Record<string, unknown>; sequence: number }[]>;
  close(): Promise<void>;
}

export const quick = {
  SEND_RATE_PER_MINUTE: '0',
  HEARTBEAT_SECONDS: '0.5',
  // The stand-in beats when a test says so.
  LEASE_SECONDS: '600',
  UNCERTAIN_GRACE_MS: '300',
  SEND_DEADLINE_MS: '2000',
  INIT_WAIT_MS: '8000',
};

/** For tests of sends that take long: on a busy machine they would reach the short deadline of `quick`. */
export const patient = { SEND_DEADLINE_MS: '20000' };

export async function startCore(
  options: Pick<
    NonNullable<Parameters<typeof startRig>[0]>,
    'database' | 'settings' | 'streamTimes' | 'clock' | 'machineClock' | 'dataDir' | 'databaseUrl' | 'mountPanel'
  > & {
    linked?: boolean;
  } = {},
): Promise<Core> {
  const { linked = true, settings, ...rigOptions } = options;
  const worker = await startStandIn({ serviceKey });
  const rig = await startRig({
    ...rigOptions,
    settings: { ...quick, WORKER_URLS: worker.url, ...settings },
  });
  worker.report(rig.url);
  await worker.beat();
  const core = callsOf(rig, worker);
  if (linked) {
    const { body } = await core.post('/sessions/init');
    if (!body.data) throw new Error(`The session could not be started: ${JSON.stringify(body)}`);
    core.sessionId = (body.data as SessionStatusResource).sessionId;
    await worker.link(core.sessionId);
  }
  return core;
}

function callsOf(rig: Rig, worker: StandIn): Core {
  const core: Core = {
    rig,
    worker,
    sessionId: '',
    post: (path, body, headers = {}) => rig.call('POST', path, { ...(body === undefined ? {} : { body }), headers }),
    get: (path) => rig.call('GET', path),
    send: (message, more = {}, headers = {}) => core.post('/messages/send-text', { recipient: ana, message, ...more }, headers),
    message: async (id) => (await core.get(`/messages/${id}`)).body.data as MessageResource,
    reaches: (id, ...statuses) =>
      eventually(`message ${id} to be ${statuses.join(' or ')}`, async () => {
        const message = await core.message(id);
        return statuses.includes(message.status) ? message : null;
      }),
    session: async () => (await core.get('/sessions/status')).body.data as SessionStatusResource,
    inbound: (text, more = {}) => observed(text, more),
    events: async (types) =>
      (await core.get(`/events?limit=200${types ? `&types=${types}` : ''}`)).body.data as Awaited<ReturnType<Core['events']>>,
    async close() {
      await rig.close();
      await worker.close();
    },
  };
  return core;
}

let keys = 0;
export function observed(text: string, more: Partial<ObservedMessage>): ObservedMessage {
  const key = more.key ?? `3A${String((keys += 1)).padStart(18, '0')}`;
  const contact = { id: `${ana}@c.us`, phone: `+${ana}`, lid: '184467440737@lid', name: 'Ana' };
  return {
    whatsappId: `${more.fromMe ? 'true' : 'false'}_${ana}@c.us_${key}`,
    key,
    fromMe: false,
    chat: { id: `${ana}@c.us`, type: 'private', name: 'Ana' },
    contact,
    from: `${ana}@c.us`,
    to: '5511988887777@c.us',
    content: { type: 'text', message: text },
    ack: 0,
    timestamp: new Date().toISOString(),
    isForwarded: false,
    mentions: [],
    groupMentions: [],
    quotedWhatsappId: null,
    ...more,
  };
}

export const dataOf = (reply: Reply): MessageResource => reply.body.data as MessageResource;
