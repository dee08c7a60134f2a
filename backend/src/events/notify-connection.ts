import { BoundedClient, connectionOptions, defaultLimits, limitSession } from '../db/connections.js';
import { errorFields, type Log } from '../lib/log.js';
import type { PublishedEvent } from './events.js';

/**
 * One connection to PostgreSQL that listens and notifies. It connects at once, and reconnects when it breaks; meanwhile the other backends find
 * events by their polls.
 */
export interface NotifyConnection {
  /** Events that commit in one tick share one notice, and so do those that commit while a notice is being sent. Dropped without a connection. */
  send(event: PublishedEvent): void;
  /** Sends the id of an account whose credentials changed. Stored while there is no connection, and sent after the reconnect. */
  sendCredentials(accountId: string): void;
  /** Detects a server that has vanished, by its missing answer. */
  probe(): Promise<void>;
  stop(): Promise<void>;
}

export type Notice = [cursor: number, accountId: string, sessionId: string | null, messageId: string | null, type: string];

interface NotifyParts {
  url: string;
  /** The names of the channels. */
  names: { events: string; credentials: string };
  log: Log;
  /** Called with notices of other backends. */
  receive: (notices: Notice[]) => void;
  /** Called with an account whose credentials another backend changed; null when notices may have been lost. */
  receiveCredentials: (accountId: string | null) => void;
}

interface Context extends NotifyParts {
  /** Null while there is no connection. */
  client: BoundedClient | null;
  /** Gives up the current connection. Null while there is none. */
  lose: ((error?: Error) => void) | null;
  /** The server's process id of this connection. */
  ownProcessId: number;
  /** Events that wait to be sent. */
  queue: Notice[];
  /** Accounts whose credentials were changed here, and were not sent yet. */
  changed: Set<string>;
  isSending: boolean;
  isStopped: boolean;
  connecting: Promise<void>;
  reconnectTimer: NodeJS.Timeout | undefined;
  reconnectWaitMs: number;
}

/** PostgreSQL accepts less than 8,000 bytes. */
const maxBytes = 7_500;
/** The most account ids in one notice, so that it stays below `maxBytes`. */
const maxIds = 150;
const reconnectMs = { first: 100, longest: 5_000 };
const limits = { ...defaultLimits, answerMs: 5_000 };

export function createNotifyConnection(parts: NotifyParts): NotifyConnection {
  const context: Context = {
    ...parts,
    client: null,
    lose: null,
    ownProcessId: 0,
    queue: [],
    changed: new Set(),
    isSending: false,
    isStopped: false,
    connecting: Promise.resolve(),
    reconnectTimer: undefined,
    reconnectWaitMs: reconnectMs.first,
  };
  context.connecting = connect(context);
  return {
    send({ cursor, accountId, sessionId, messageId, type }) {
      // Without a connection the other backends' polls find the event.
      if (!context.client) return;
      context.queue.push([cursor, accountId, sessionId, messageId, type]);
      if (context.queue.length === 1) setImmediate(() => void flush(context));
    },
    sendCredentials(accountId) {
      context.changed.add(accountId);
      setImmediate(() => void flush(context));
    },
    async probe() {
      if (context.client && !context.isSending) await run(context, context.client, 'SELECT 1');
    },
    async stop() {
      context.isStopped = true;
      clearTimeout(context.reconnectTimer);
      await context.connecting;
      const last = context.client;
      context.client = null;
      await last?.end();
    },
  };
}

/** Never rejects. */
async function connect(context: Context): Promise<void> {
  const { url, names } = context;
  const client = new BoundedClient(connectionOptions(url, 'chasqui wake', limits));
  // A broken connection emits one or two events of different kinds.
  const lose = (error?: Error): void => loseClient(context, client, error);
  client.on('error', lose);
  client.on('end', () => lose());
  client.on('notification', ({ processId, channel, payload }) => {
    // The server also delivers our own notices.
    if (processId === context.ownProcessId) return;
    if (channel === names.events) context.receive(parseNotices(payload));
    else for (const accountId of parseIds(payload)) context.receiveCredentials(accountId);
  });
  try {
    await client.connect();
    await limitSession(client, limits);
    await client.query(`LISTEN ${names.events}`);
    await client.query(`LISTEN ${names.credentials}`);
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    context.ownProcessId = (rows[0] ?? { pid: 0 }).pid;
    if (context.isStopped) return lose();
    context.client = client;
    context.lose = lose;
    context.reconnectWaitMs = reconnectMs.first;
    context.receiveCredentials(null);
    void flush(context);
  } catch (error) {
    lose(error instanceof Error ? error : undefined);
  }
}

/** Gives up a connection and plans the next one. */
function loseClient(context: Context, client: BoundedClient, error?: Error): void {
  if (context.client === client) context.client = context.lose = null;
  context.queue = [];
  client.removeAllListeners('notification');
  void client.end().catch(() => undefined); // It is broken already.
  if (context.isStopped || context.reconnectTimer) return;
  context.log.warn('Lost the notification connection to the other backends; reconnecting.', error ? errorFields(error) : {});
  context.reconnectTimer = setTimeout(() => {
    context.reconnectTimer = undefined;
    context.connecting = connect(context);
  }, context.reconnectWaitMs);
  context.reconnectWaitMs = Math.min(context.reconnectWaitMs * 2, reconnectMs.longest);
}

async function flush(context: Context): Promise<void> {
  const { changed, names } = context;
  if (context.isSending || !context.client) return;
  context.isSending = true;
  while ((context.queue.length > 0 || changed.size > 0) && context.client) {
    // Revoked credentials are sent before events.
    if (changed.size > 0) {
      const ids = shiftChanged(changed);
      await run(context, context.client, 'SELECT pg_notify($1, $2)', [names.credentials, JSON.stringify(ids)]);
      // The connection broke: the next one sends them.
      if (!context.client) for (const id of ids) changed.add(id);
    } else await run(context, context.client, 'SELECT pg_notify($1, $2)', [names.events, shiftNotices(context, maxBytes)]);
  }
  context.isSending = false;
}

/** Runs a statement. A vanished server is detected by the missing answer; what was sent is then lost. Never rejects. */
const run = (context: Context, client: BoundedClient, sql: string, values: string[] = []): Promise<void> =>
  client.query(sql, values).then(
    () => undefined,
    (error: unknown) => context.lose?.(error instanceof Error ? error : undefined),
  );

/** Removes some account ids from those that wait, and returns them. */
function shiftChanged(changed: Set<string>): string[] {
  const some = [...changed].slice(0, maxIds);
  for (const accountId of some) changed.delete(accountId);
  return some;
}

/** Removes as many notices from the queue as fit into `bytes`, and returns them as JSON. */
function shiftNotices(context: Context, bytes: number): string {
  let text = '[';
  let count = 0;
  for (const notice of context.queue) {
    const one = JSON.stringify(notice);
    if (text.length + one.length + 2 > bytes) break;
    text += count > 0 ? `,${one}` : one;
    count += 1;
  }
  context.queue = context.queue.slice(count);
  return `${text}]`;
}

function parseIds(payload: string | undefined): string[] {
  try {
    const list: unknown = JSON.parse(payload ?? '[]');
    return Array.isArray(list) ? list.filter((id) => typeof id === 'string') : [];
  } catch {
    return []; // A notice that was sent by hand.
  }
}

function parseNotices(payload: string | undefined): Notice[] {
  try {
    const list: unknown = JSON.parse(payload ?? '[]');
    // Only backends on this database send on this channel.
    return Array.isArray(list) ? (list as Notice[]) : [];
  } catch {
    return []; // A notice that was sent by hand.
  }
}
