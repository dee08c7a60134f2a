import type { Core } from '../core.js';
import { runStatement } from '../db/statement.js';
import type { CredentialChanges } from '../lib/credential-changes.js';
import { errorFields } from '../lib/log.js';
import { lastCursor } from './log.js';
import { createNotifyConnection, type Notice, type NotifyConnection } from './notify-connection.js';

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
export interface Wake {
  stop(): Promise<void>;
}

type WakeCore = Pick<Core, 'database' | 'events' | 'log'>;

export interface WakeParts {
  /** The address of PostgreSQL. Null: this is the only backend. */
  url: string | null;
  schema?: string | undefined;
  credentials: CredentialChanges;
}

interface Context extends WakeCore {
  received: ReceivedCursors;
  connection: NotifyConnection;
  /** Events of other backends are being published: they are not sent again. */
  isPublishing: boolean;
  isStopped: boolean;
  polling: Promise<void>;
  polls: number;
  timer: NodeJS.Timeout | undefined;
}

const channel = 'chasqui_events';
const credentialsChannel = 'chasqui_credentials';
/** The longest delay of an event whose notice was lost. */
const pollMs = 1_000;
/** The connection is probed once per this number of polls. */
const probeEvery = 10;
const pageSize = 500;

/** Starts at once; failed connections are retried until it is stopped. */
export async function startWake(core: WakeCore, { url, schema = 'public', credentials }: WakeParts): Promise<Wake> {
  if (url === null) return { stop: async () => undefined };
  const { database, events, log } = core;
  const received = createReceivedCursors(await lastCursor(database.reader));
  const nameOf = (base: string): string => (schema === 'public' ? base : `${base}_${schema}`);
  const connection = createNotifyConnection({
    url,
    names: { events: nameOf(channel), credentials: nameOf(credentialsChannel) },
    log,
    receive: (notices) => publish(context, notices),
    receiveCredentials: credentials.receive,
  });
  const context: Context = {
    ...core,
    received,
    connection,
    isPublishing: false,
    isStopped: false,
    polling: Promise.resolve(),
    polls: 0,
    timer: undefined,
  };
  const unsubscribeCredentials = credentials.subscribeOwn(connection.sendCredentials);
  const unsubscribe = events.subscribe((event) => {
    if (context.isPublishing) return;
    received.add(event.cursor);
    connection.send(event);
  });
  schedulePoll(context);
  return {
    async stop() {
      context.isStopped = true;
      unsubscribe();
      unsubscribeCredentials();
      clearTimeout(context.timer);
      await context.polling;
      await connection.stop();
    },
  };
}

/** Publishes events of other backends to the listeners of this one. */
function publish(context: Context, notices: Iterable<Notice>): void {
  context.isPublishing = true;
  for (const [cursor, accountId, sessionId, messageId, type] of notices)
    if (context.received.add(cursor)) context.events.receive({ cursor, accountId, sessionId, messageId, type, data: null });
  context.isPublishing = false;
}

function schedulePoll(context: Context): void {
  context.timer = setTimeout(() => {
    context.polling = pollAndProbe(context).then(() => {
      if (!context.isStopped) schedulePoll(context);
    });
  }, pollMs);
}

/** Never rejects. */
async function pollAndProbe(context: Context): Promise<void> {
  try {
    await poll(context);
    context.polls += 1;
    if (context.polls % probeEvery === 0) await context.connection.probe();
  } catch (error) {
    context.log.warn('The event log could not be scanned; the scan is retried.', errorFields(error));
  }
}

/** Publishes the events that were not received. */
async function poll(context: Context): Promise<void> {
  const { database, received } = context;
  for (;;) {
    const { rows } = await runStatement<Record<'cursor' | 'accountId' | 'sessionId' | 'messageId' | 'type', string>>(
      database.reader,
      `SELECT cursor, "accountId", "sessionId", "messageId", type FROM events WHERE cursor > ? ORDER BY cursor LIMIT ${pageSize}`,
      [received.upTo()],
      { prepare: false },
    );
    publish(
      context,
      rows.map((row): Notice => [Number(row.cursor), row.accountId, row.sessionId, row.messageId, row.type]),
    );
    if (rows.length > 0) received.settle(Number(rows.at(-1)!.cursor));
    if (rows.length < pageSize || context.isStopped) return;
  }
}

/** The cursors that were received: all up to one, and some ahead of it. */
interface ReceivedCursors {
  upTo(): number;
  /** Returns false for a cursor that was received before. */
  add(cursor: number): boolean;
  /** Everything up to this cursor was scanned; cursors that are missing below will never appear. */
  settle(cursor: number): void;
}

function createReceivedCursors(start: number): ReceivedCursors {
  let last = start;
  const ahead = new Set<number>();
  const advance = (): void => {
    while (ahead.delete(last + 1)) last += 1;
  };
  return {
    upTo: () => last,
    add(cursor) {
      if (cursor <= last || ahead.has(cursor)) return false;
      ahead.add(cursor);
      advance();
      return true;
    },
    settle(cursor) {
      if (cursor <= last) return;
      last = cursor;
      for (const one of ahead) if (one <= last) ahead.delete(one);
      advance();
    },
  };
}
