import type { CredentialChanges } from '../lib/credential-changes.js';
import { BoundedClient, connectionOptions, defaultLimits, limitSession } from '../db/connections.js';
import type { Database } from '../db/database.js';
import { select } from '../db/sql.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Events, Heard } from './events.js';

/**
 * Wakes the other backends on the same PostgreSQL: what one commits, the listeners of all hear within milliseconds, with ids and
 * cursors only. With SQLite there is no other backend and none of this runs.
 *
 * The notice is sent after the commit, on a connection of its own (docs/decisions/055-wake-by-notify.md): inside the transaction it
 * would make all commits queue for one lock of the server. So it can be lost, when the process dies in between or the line breaks.
 *
 * | lost | who finds it |
 * | --- | --- |
 * | a notice | cursors have no gaps: the poll reads what stands between those that were heard |
 * | the line | the same poll, until a new line listens; then whatever came meanwhile, by the poll again |
 *
 * Hearing of an event twice is possible and harmless: who is woken looks into the log, or into its table.
 *
 * Changes of credentials travel on a second channel of the same connection, as the ids of the accounts. They have no log to be read from: after a
 * connection was made again, every cached credential is forgotten and every stream is checked.
 */

const channel = 'chasqui_events';
const credentialsChannel = 'chasqui_credentials';
/** How late an event can be that nobody told us of. */
const pollMs = 1_000;
/** Polls from one question whether the line is still there to the next. */
const probeEvery = 10;
/** PostgreSQL takes less than 8,000 bytes. */
const mostBytes = 7_500;
const reconnectMs = { first: 100, longest: 5_000 };
const limits = { ...defaultLimits, answerMs: 5_000 };

type Notice = [cursor: number, accountId: string, sessionId: string | null, messageId: string | null, type: string];

export interface Wake {
  stop(): Promise<void>;
}

/** `url` null: this is the only backend. Starts at once; what it needs is tried again until it is stopped. */
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
  const known = createKnown(await headOf(database));
  const nameOf = (base: string): string => (schema === 'public' ? base : `${base}_${schema}`);
  const names = { events: nameOf(channel), credentials: nameOf(credentialsChannel) };
  let passingOn = false;
  let stopped = false;

  function tell(notices: Iterable<Notice>): void {
    passingOn = true;
    for (const [cursor, accountId, sessionId, messageId, type] of notices)
      if (known.add(cursor)) events.hear({ cursor, accountId, sessionId, messageId, type, data: null });
    passingOn = false;
  }
  const line = createLine({ url, names, log, hear: tell, hearCredentials: credentials.receive });
  const unsubscribeCredentials = credentials.subscribeOwn(line.sendCredentials);
  const unsubscribe = events.subscribe((event) => {
    // What we heard from elsewhere is not ours to tell.
    if (passingOn) return;
    known.add(event.cursor);
    line.send(event);
  });

  async function poll(): Promise<void> {
    for (;;) {
      const from = known.upTo();
      const rows = await select<Record<'cursor' | 'accountId' | 'sessionId' | 'messageId' | 'type', string>>(
        database.reader,
        'SELECT cursor, "accountId", "sessionId", "messageId", type FROM events WHERE cursor > ? ORDER BY cursor LIMIT 500',
        [from],
      );
      tell(rows.map((row): Notice => [Number(row.cursor), row.accountId, row.sessionId, row.messageId, row.type]));
      if (rows.length > 0) known.settle(Number(rows.at(-1)!.cursor));
      if (rows.length < 500 || stopped) return;
    }
  }
  let polling: Promise<void> = Promise.resolve();
  let polls = 0;
  const schedule = (): NodeJS.Timeout =>
    setTimeout(() => {
      polling = poll()
        .then(() => ((polls += 1) % probeEvery === 0 ? line.probe() : undefined))
        .catch((error: unknown) => log.warn('The event log could not be looked through; it is tried again.', errorFields(error)))
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
      await line.stop();
    },
  };
}

const headOf = async (database: Database): Promise<number> => {
  const [head] = await select<{ last: string | null }>(database.reader, 'SELECT MAX(cursor) AS last FROM events');
  return Number(head?.last ?? 0);
};

/** Which cursors were heard: all up to one, and some ahead of it. */
function createKnown(start: number) {
  let last = start;
  const ahead = new Set<number>();
  const goOn = (): void => {
    while (ahead.delete(last + 1)) last += 1;
  };
  return {
    upTo: () => last,
    /** False: heard before. */
    add(cursor: number): boolean {
      if (cursor <= last || ahead.has(cursor)) return false;
      ahead.add(cursor);
      goOn();
      return true;
    },
    /** All up to here was looked through; what is missing below will never be. */
    settle(cursor: number): void {
      if (cursor <= last) return;
      last = cursor;
      for (const one of ahead) if (one <= last) ahead.delete(one);
      goOn();
    },
  };
}

/** One connection that listens and notifies, made again whenever it breaks. What is to be sent meanwhile is left to the others' polls. */
function createLine(parts: {
  url: string;
  names: { events: string; credentials: string };
  log: Log;
  hear: (notices: Notice[]) => void;
  hearCredentials: (accountId: string | null) => void;
}) {
  const { url, names, log, hear, hearCredentials } = parts;
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
  /** The server's number of our connection. */
  let own = 0;

  async function connect(): Promise<void> {
    const fresh = new BoundedClient(connectionOptions(url, 'chasqui wake', limits));
    // A line that breaks says so once or twice, in one way or another.
    const lost = (error?: Error): void => {
      if (client === fresh) client = breaks = null;
      queue = [];
      fresh.removeAllListeners('notification');
      void fresh.end().catch(() => undefined); // It is broken already.
      if (stopped || timer) return;
      log.warn('The line to the other backends broke; it is made again.', error ? errorFields(error) : {});
      timer = setTimeout(retry, wait);
      wait = Math.min(wait * 2, reconnectMs.longest);
    };
    fresh.on('error', lost);
    fresh.on('end', () => lost());
    fresh.on('notification', ({ processId, channel: heardOn, payload }) => {
      // Our own come back as well.
      if (processId === own) return;
      if (heardOn === names.events) hear(parse(payload));
      else for (const accountId of parseIds(payload)) hearCredentials(accountId);
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
      hearCredentials(null);
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
      // A secret that is dead goes before news.
      if (changed.size > 0) {
        const ids = takeChanged();
        await ask(client, 'SELECT pg_notify($1, $2)', [names.credentials, JSON.stringify(ids)]);
        // The connection broke: they are sent by the next one.
        if (!client) for (const id of ids) changed.add(id);
      } else await ask(client, 'SELECT pg_notify($1, $2)', [names.events, takeUpTo(mostBytes)]);
    }
    sending = false;
  }

  /** A line whose other end is gone without a word is found by a question that is not answered in time. What was sent is then lost. */
  const ask = (line: BoundedClient, sql: string, values: string[] = []): Promise<void> =>
    line.query(sql, values).then(
      () => undefined,
      (error: unknown) => breaks?.(error instanceof Error ? error : undefined),
    );

  function takeChanged(): string[] {
    const some = [...changed].slice(0, mostIds);
    for (const accountId of some) changed.delete(accountId);
    return some;
  }

  function takeUpTo(bytes: number): string {
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
    /** What is committed in one turn goes as one notice; so does what comes while one is under way. */
    send({ cursor, accountId, sessionId, messageId, type }: Heard): void {
      // Without a line the others' polls will find it.
      if (!client) return;
      queue.push([cursor, accountId, sessionId, messageId, type]);
      if (queue.length === 1) setImmediate(() => void flush());
    },
    /** Kept while there is no connection, and sent once there is one again. */
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

/** Ids of accounts in one notice, so that it stays below `mostBytes`. */
const mostIds = 150;

function parseIds(payload: string | undefined): string[] {
  try {
    const list: unknown = JSON.parse(payload ?? '[]');
    return Array.isArray(list) ? list.filter((id) => typeof id === 'string') : [];
  } catch {
    return []; // Somebody tried the channel by hand.
  }
}

function parse(payload: string | undefined): Notice[] {
  try {
    const list: unknown = JSON.parse(payload ?? '[]');
    // Only backends of ours, on this very database, speak on this channel.
    return Array.isArray(list) ? (list as Notice[]) : [];
  } catch {
    return []; // Somebody tried the channel by hand.
  }
}
