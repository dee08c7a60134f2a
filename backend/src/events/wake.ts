import type { CredentialChanges } from '../lib/credential-changes.js';
import { BoundedClient, connectionOptions, defaultLimits, limitSession } from '../db/connections.js';
import type { Database } from '../db/database.js';
import { runStatement } from '../db/statement.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Events, PublishedEvent } from './events.js';

/**
 * Wakes the other backends on the same PostgreSQL: the listeners of all backends receive what one commits within milliseconds, as ids
 * and cursors only. With SQLite there is no other backend and none of this runs.
 *
 * The notice is sent after the commit, on a separate connection (docs/decisions/055-wake-by-notify.md): inside the transaction it
 * would make all commits queue for one lock of the server. So it can be lost when the process dies in between or the connection breaks.
 *
 * | lost | recovered by |
 * | --- | --- |
 * | a notice | cursors have no gaps: the poll reads those that are missing between the received ones |
 * | the connection | the same poll, until a new connection listens |
 *
 * An event may be received twice, which is harmless: a listener that wakes reads the log, or its own table.
 *
 * Changes of credentials travel on a second channel of the same connection, as the ids of the accounts. They have no log to be read from: after a
 * reconnect every cached credential is forgotten and every stream is checked.
 */

const channel = 'chasqui_events';
const credentialsChannel = 'chasqui_credentials';
/** The longest delay of an event whose notice was lost. */
const pollMs = 1_000;
/** The connection is probed once per this number of polls. */
const probeEvery = 10;
/** PostgreSQL accepts less than 8,000 bytes. */
const maxBytes = 7_500;
const reconnectMs = { first: 100, longest: 5_000 };
const limits = { ...defaultLimits, answerMs: 5_000 };

type Notice = [cursor: number, accountId: string, sessionId: string | null, messageId: string | null, type: string];

export interface Wake {
  stop(): Promise<void>;
}

/** `url` null: this is the only backend. Starts at once; failed connections are retried until it is stopped. */
export async function startWake({
  url,
  schema = 'public',
  database,
  events,
  credentials,
  log,
}: {
  url: string | null;
  schema?: string | undefined;
  database: Database;
  events: Events;
  credentials: CredentialChanges;
  log: Log;
}): Promise<Wake> {
  if (url === null) return { stop: async () => undefined };
  const received = createReceivedCursors(await headOf(database));
  const nameOf = (base: string): string => (schema === 'public' ? base : `${base}_${schema}`);
  const names = { events: nameOf(channel), credentials: nameOf(credentialsChannel) };
  let isPublishing = false;
  let stopped = false;

  function publish(notices: Iterable<Notice>): void {
    isPublishing = true;
    for (const [cursor, accountId, sessionId, messageId, type] of notices)
      if (received.add(cursor)) events.receive({ cursor, accountId, sessionId, messageId, type, data: null });
    isPublishing = false;
  }
  const connection = createNotifyConnection({ url, names, log, receive: publish, receiveCredentials: credentials.receive });
  const unsubscribeCredentials = credentials.subscribeOwn(connection.sendCredentials);
  const unsubscribe = events.subscribe((event) => {
    // Events of other backends are not sent again.
    if (isPublishing) return;
    received.add(event.cursor);
    connection.send(event);
  });

  async function poll(): Promise<void> {
    for (;;) {
      const from = received.upTo();
      const { rows } = await runStatement<Record<'cursor' | 'accountId' | 'sessionId' | 'messageId' | 'type', string>>(
        database.reader,
        'SELECT cursor, "accountId", "sessionId", "messageId", type FROM events WHERE cursor > ? ORDER BY cursor LIMIT 500',
        [from],
        { prepare: false },
      );
      publish(rows.map((row): Notice => [Number(row.cursor), row.accountId, row.sessionId, row.messageId, row.type]));
      if (rows.length > 0) received.settle(Number(rows.at(-1)!.cursor));
      if (rows.length < 500 || stopped) return;
    }
  }
  let polling: Promise<void> = Promise.resolve();
  let pollCount = 0;
  const schedule = (): NodeJS.Timeout =>
    setTimeout(() => {
      polling = poll()
        .then(() => ((pollCount += 1) % probeEvery === 0 ? connection.probe() : undefined))
        .catch((error: unknown) => log.warn('The event log could not be scanned; the scan is retried.', errorFields(error)))
        .then(() => {
          if (!stopped) timer = schedule();
        });
    }, pollMs);
  let timer = schedule();

  return {
    async stop() {
      stopped = true;
      unsubscribe();
      unsubscribeCredentials();
      clearTimeout(timer);
      await polling;
      await connection.stop();
    },
  };
}

const headOf = async (database: Database): Promise<number> => {
  const {
    rows: [head],
  } = await runStatement<{ last: string | null }>(database.reader, 'SELECT MAX(cursor) AS last FROM events');
  return Number(head?.last ?? 0);
};

/** The cursors that were received: all up to one, and some ahead of it. */
function createReceivedCursors(start: number) {
  let last = start;
  const ahead = new Set<number>();
  const advance = (): void => {
    while (ahead.delete(last + 1)) last += 1;
  };
  return {
    upTo: () => last,
    /** Returns false for a cursor that was received before. */
    add(cursor: number): boolean {
      if (cursor <= last || ahead.has(cursor)) return false;
      ahead.add(cursor);
      advance();
      return true;
    },
    /** Everything up to this cursor was scanned; cursors that are missing below will never appear. */
    settle(cursor: number): void {
      if (cursor <= last) return;
      last = cursor;
      for (const one of ahead) if (one <= last) ahead.delete(one);
      advance();
    },
  };
}

/** One connection that listens and notifies. It reconnects when it breaks; meanwhile the other backends find events by their polls. */
function createNotifyConnection(parts: {
  url: string;
  names: { events: string; credentials: string };
  log: Log;
  receive: (notices: Notice[]) => void;
  receiveCredentials: (accountId: string | null) => void;
}) {
  const { url, names, log, receive, receiveCredentials } = parts;
  let client: BoundedClient | null = null;
  let stopped = false;
  let wait = reconnectMs.first;
  let timer: NodeJS.Timeout | undefined;
  let queue: Notice[] = [];
  /** Accounts whose credentials were changed here. */
  const changed = new Set<string>();
  let sending = false;
  let connecting: Promise<void> = Promise.resolve();
  let breaks: ((error?: Error) => void) | null = null;
  /** The server's process id of this connection. */
  let own = 0;

  async function connect(): Promise<void> {
    const fresh = new BoundedClient(connectionOptions(url, 'chasqui wake', limits));
    // A broken connection emits one or two events of different kinds.
    const lost = (error?: Error): void => {
      if (client === fresh) client = breaks = null;
      queue = [];
      fresh.removeAllListeners('notification');
      void fresh.end().catch(() => undefined); // It is broken already.
      if (stopped || timer) return;
      log.warn('Lost the notification connection to the other backends; reconnecting.', error ? errorFields(error) : {});
      timer = setTimeout(retry, wait);
      wait = Math.min(wait * 2, reconnectMs.longest);
    };
    fresh.on('error', lost);
    fresh.on('end', () => lost());
    fresh.on('notification', ({ processId, channel: notifiedChannel, payload }) => {
      // The server also delivers our own notices.
      if (processId === own) return;
      if (notifiedChannel === names.events) receive(parse(payload));
      else for (const accountId of parseIds(payload)) receiveCredentials(accountId);
    });
    try {
      await fresh.connect();
      await limitSession(fresh, limits);
      await fresh.query(`LISTEN ${names.events}`);
      await fresh.query(`LISTEN ${names.credentials}`);
      own = ((await fresh.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows[0] ?? { pid: 0 }).pid;
      if (stopped) return lost();
      client = fresh;
      breaks = lost;
      wait = reconnectMs.first;
      receiveCredentials(null);
      void flush();
    } catch (error) {
      lost(error instanceof Error ? error : undefined);
    }
  }
  const retry = (): void => {
    timer = undefined;
    connecting = connect();
  };
  retry();

  async function flush(): Promise<void> {
    if (sending || !client) return;
    sending = true;
    while ((queue.length > 0 || changed.size > 0) && client) {
      // Revoked credentials are sent before events.
      if (changed.size > 0) {
        const ids = readChanged();
        await ask(client, 'SELECT pg_notify($1, $2)', [names.credentials, JSON.stringify(ids)]);
        // The connection broke: the next one sends them.
        if (!client) for (const id of ids) changed.add(id);
      } else await ask(client, 'SELECT pg_notify($1, $2)', [names.events, readUpTo(maxBytes)]);
    }
    sending = false;
  }

  /** Runs a statement. A vanished server is detected by the missing answer; what was sent is then lost. */
  const ask = (connection: BoundedClient, sql: string, values: string[] = []): Promise<void> =>
    connection.query(sql, values).then(
      () => undefined,
      (error: unknown) => breaks?.(error instanceof Error ? error : undefined),
    );

  function readChanged(): string[] {
    const some = [...changed].slice(0, maxIds);
    for (const accountId of some) changed.delete(accountId);
    return some;
  }

  function readUpTo(bytes: number): string {
    let text = '[';
    let taken = 0;
    for (const notice of queue) {
      const one = JSON.stringify(notice);
      if (text.length + one.length + 2 > bytes) break;
      text += taken > 0 ? `,${one}` : one;
      taken += 1;
    }
    queue = queue.slice(taken);
    return `${text}]`;
  }

  return {
    /** Events that commit in one tick share one notice, and so do those that commit while a notice is being sent. */
    send({ cursor, accountId, sessionId, messageId, type }: PublishedEvent): void {
      // Without a connection the other backends' polls find the event.
      if (!client) return;
      queue.push([cursor, accountId, sessionId, messageId, type]);
      if (queue.length === 1) setImmediate(() => void flush());
    },
    /** Stored while there is no connection, and sent after the reconnect. */
    sendCredentials(accountId: string): void {
      changed.add(accountId);
      setImmediate(() => void flush());
    },
    async probe(): Promise<void> {
      if (client && !sending) await ask(client, 'SELECT 1');
    },
    async stop(): Promise<void> {
      stopped = true;
      clearTimeout(timer);
      await connecting;
      const last = client;
      client = null;
      await last?.end();
    },
  };
}

/** The most account ids in one notice, so that it stays below `maxBytes`. */
const maxIds = 150;

function parseIds(payload: string | undefined): string[] {
  try {
    const list: unknown = JSON.parse(payload ?? '[]');
    return Array.isArray(list) ? list.filter((id) => typeof id === 'string') : [];
  } catch {
    return []; // A notice that was sent by hand.
  }
}

function parse(payload: string | undefined): Notice[] {
  try {
    const list: unknown = JSON.parse(payload ?? '[]');
    // Only backends on this database send on this channel.
    return Array.isArray(list) ? (list as Notice[]) : [];
  } catch {
    return []; // A notice that was sent by hand.
  }
}
