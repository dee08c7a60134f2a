import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Account } from '../../src/accounts/account.entity.js';
import type { Core } from '../../src/core.js';
import { openDatabase, type Database } from '../../src/db/database.js';
import { insertRow, readRows } from '../../src/db/rows.js';
import { createEvents, type Events } from '../../src/events/events.js';
import type { ReportFailure } from '../../src/failures/failures.js';
import { systemClock, type Clock } from '../../src/lib/clock.js';
import { createEgress } from '@chasqui/shared/egress';
import type { Log } from '../../src/lib/log.js';
import { createSealer } from '../../src/lib/sealer.js';
import { createDeliveries, type Deliveries } from '../../src/webhooks/deliveries.js';
import { createEndpointSecrets, type EndpointSecrets } from '../../src/webhooks/endpoint-secrets.js';
import { createWebhookDispatcher, type WebhookDispatcher } from '../../src/webhooks/send/dispatcher.js';
import type { LaneContext } from '../../src/webhooks/send/lane-state.js';
import type { Post, PostRequest, Posted } from '../../src/webhooks/send/post.js';
import { Webhook, WebhookDelivery } from '../../src/webhooks/webhook.entity.js';
import { createSubscriptions, type Subscriptions } from '../../src/webhooks/subscriptions.js';
import { createWebhooks } from '../../src/webhooks/webhooks.js';
import { migratedDatabase } from './backend.js';

/** Webhook lanes on a real database, with a receiver that is a function: no HTTP, so that faults and times are a test's to choose. */

export const account = 'account-1';

/** What a receiver sees. */
export interface Arrival {
  webhookId: string;
  eventId: string;
  session: string;
  number: number;
  attempt: number;
  at: number;
  signal: AbortSignal | undefined;
}
export type Receiver = (arrival: Arrival) => Partial<Posted> | Promise<Partial<Posted>>;

export interface Backend {
  deliveries: Deliveries;
  dispatcher: WebhookDispatcher;
  events: Events;
  subscriptions: Subscriptions;
}

export interface Lanes {
  database: Database;
  lines: string[];
  /** What is shown to staff: the kind and the subject of isolated items. */
  reports: string[];
  /** Attempts in the order in which they began. */
  arrivals: Arrival[];
  /** Numbers of delivered events by session, in the order of the answers. */
  taken: Map<string, number[]>;
  /** Starts one more backend on this database. */
  backend(
    over?: Partial<Pick<LaneContext, 'deliveries' | 'post'>> & {
      owner?: string;
      concurrency?: number;
      receiver?: Receiver;
      maxRequests?: number;
      open?: EndpointSecrets['open'];
    },
  ): Backend;
  webhook(over?: Partial<Webhook>): Promise<string>;
  /** Writes so many events of a session, with their deliveries. */
  emit(backend: Backend, session: string, numbers: readonly number[]): Promise<void>;
  rows(): Promise<WebhookDelivery[]>;
  row(id: string): Promise<Webhook>;
  close(): Promise<void>;
}

const delays = [200, 500, 1_000, 2_000, 5_000, 8_000, 12_000, 30_000, 120_000];

export async function startLanes(options: {
  database: 'sqlite' | 'postgres';
  clock?: Clock;
  receiver?: Receiver;
  delays?: readonly number[];
}): Promise<Lanes> {
  const own = options.database === 'postgres' ? await migratedDatabase() : null;
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-lanes-'));
  const database = await openDatabase(own ? { url: own.url } : { file: join(dir, 'chasqui.sqlite') });
  const clock = options.clock ?? systemClock;
  // Nothing is sent for an account that does not exist or is deactivated.
  const now = clock.now();
  await database.write.run((tx) =>
    insertRow(tx, Account, {
      id: account,
      username: account,
      email: `${account}@example.com`,
      passwordHash: '',
      jwtSecret: '',
      role: 'user',
      createdAt: now,
      updatedAt: now,
    }),
  );
  const lines: string[] = [];
  const reports: string[] = [];
  const line = (sentence: string, fields: object = {}): void => void lines.push(JSON.stringify({ sentence, ...fields }));
  const log: Log = { error: line, warn: line, info: line, debug: line, isDebug: false };
  const arrivals: Arrival[] = [];
  const taken = new Map<string, number[]>();
  const backends: Backend[] = [];
  let made = 0;

  const postTo =
    (receiver: Receiver): Post =>
    async (url: string, { headers, body, signal }: PostRequest) => {
      const { data, session } = JSON.parse(body) as { data: { memoryMb: number }; session: { id: string } };
      const arrival: Arrival = {
        webhookId: url.split('/').at(-1)!,
        eventId: headers['webhook-id']!,
        session: session.id,
        number: data.memoryMb,
        attempt: Number(headers['x-webhook-attempt']),
        at: performance.now(),
        signal,
      };
      arrivals.push(arrival);
      const result = { statusCode: 204, error: null, response: '', retryAfterMs: 0, durationMs: 1, ...(await receiver(arrival)) };
      if (result.statusCode === 204) taken.set(session.id, [...(taken.get(session.id) ?? []), data.memoryMb]);
      return result;
    };

  return {
    database,
    lines,
    reports,
    arrivals,
    taken,
    backend(over = {}) {
      const {
        owner = `backend-${(made += 1)}`,
        concurrency = 4,
        maxRequests = 512,
        receiver = options.receiver ?? (() => ({})),
        open = () => ({ secrets: ['whsec_MDEyMzQ1Njc4OWFiY2RlZg=='], headers: {} }),
        ...parts
      } = over;
      const deliveries = createDeliveries({ database, owner, clock });
      const report: ReportFailure = ({ kind, subject }) => reports.push(`${kind} ${subject}`);
      const subscriptions = createSubscriptions({ database, clock, report });
      const events = createEvents({ clock, deliver: subscriptions.deliver });
      const core: Core = { database, events, clock, log, report };
      const sealer = createSealer(`k1:${Buffer.alloc(32, 7).toString('base64')}`);
      const secrets = { ...createEndpointSecrets({ database, sealer }), open };
      const webhooks = createWebhooks(core, {
        subscriptions,
        secrets,
        egress: createEgress({ allow: [] }),
        rules: { maxPerSession: 10, maxPerAccount: 50, httpsOnly: false },
      });
      const dispatcher = createWebhookDispatcher(core, {
        deliveries,
        subscriptions,
        webhooks,
        secrets,
        presence: { owner, gone: async () => [], close: async () => undefined },
        post: postTo(receiver),
        options: {
          timeoutMs: 15_000,
          concurrency,
          maxRequests,
          disableAfterMs: 5 * 86_400_000,
          schedule: { delays: options.delays ?? delays, repeats: true, maxRetries: null, windowMs: 168 * 3_600_000 },
        },
        ...parts,
      });
      const backend = { deliveries, dispatcher, events, subscriptions };
      backends.push(backend);
      dispatcher.start();
      return backend;
    },
    async webhook(over = {}) {
      const id = over.id ?? `hook-${(made += 1)}`;
      const now = clock.now();
      await database.write.run((tx) =>
        insertRow(tx, Webhook, {
          id,
          accountId: account,
          url: `https://receiver.example/${id}`,
          events: ['session.recycled'],
          types: { 'session.recycled': 'session.recycled' },
          secret: 'sealed',
          createdAt: now,
          updatedAt: now,
          ...over,
        }),
      );
      return id;
    },
    async emit(backend, session, numbers) {
      await database.write.run(async (tx) => {
        await backend.events.appendAll(
          tx,
          numbers.map((memoryMb) => ({
            accountId: account,
            sessionId: session,
            type: 'session.recycled' as const,
            data: { reason: 'test', memoryMb },
          })),
        );
      });
    },
    rows: () => readRows(database.reader, WebhookDelivery, '1 = 1 ORDER BY "eventCursor"', []),
    row: async (id) => (await readRows(database.reader, Webhook, 'id = ?', [id]))[0]!,
    async close() {
      await Promise.all(backends.map(({ dispatcher }) => dispatcher.stop()));
      await database.close();
      await own?.drop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const numbers = (count: number, from = 0): number[] => Array.from({ length: count }, (_, n) => from + n);
