import pg from 'pg';
import { connectionLost, DatabaseConnectionLost, markConnectionError, codeOf, needsNewConnection } from './database-errors.js';

/**
 * Connections to PostgreSQL with time limits on both sides, so that neither side waits forever
 * (docs/decisions/035-database-time-limits.md).
 *
 * | what happens | detected by | after |
 * | --- | --- | --- |
 * | the server cannot be reached, or all connections are in use | this process | `connectMs` |
 * | another transaction has locked a row | the server | `lockMs` |
 * | this process freezes inside a transaction | the server, which rolls back and releases the locks | `idleInTransactionMs` |
 * | this process freezes between two statements of a migration | the server, which releases the migration lock | `idleMs` |
 * | a statement takes too long | the server | `statementMs` |
 * | the server, or the network to it, does not respond | this process, which closes the connection | `answerMs` |
 * | this process vanishes without closing its connections | the server: keepalive, unacknowledged bytes, a check while a statement runs | `peerMs` |
 *
 * `lockMs` is shorter than `idleInTransactionMs`: when a backend freezes, its own waiting transactions fail before the one that they wait for
 * is ended; otherwise they would get the locks one after the other and hold them just as long. `answerMs` is longer than `statementMs`, so
 * that a server that is only slow answers with its own error, and short enough that a client that repeats a request every few seconds
 * succeeds within 15 s after a firewall dropped the connections.
 */
export interface ConnectionLimits {
  connectMs: number;
  lockMs: number;
  idleInTransactionMs: number;
  /** Applies to a connection without a transaction. 0: no limit, as for the connections of a pool. */
  idleMs: number;
  statementMs: number;
  answerMs: number;
  peerMs: number;
}

export const defaultLimits: ConnectionLimits = {
  connectMs: 5_000,
  lockMs: 4_000,
  idleInTransactionMs: 5_000,
  idleMs: 0,
  statementMs: 8_000,
  answerMs: 9_000,
  peerMs: 10_000,
};

/**
 * Migrations rewrite tables and wait for locks, so their statements have no limit (0). The server ends the connection of a backend that
 * freezes while it migrates, so that another one continues; computations between two statements take far less.
 */
export const migrationLimits: ConnectionLimits = {
  ...defaultLimits,
  lockMs: 0,
  idleInTransactionMs: 10_000,
  idleMs: 10_000,
  statementMs: 0,
  answerMs: 0,
};

/** Options of a pool or a client that `limitSession` completes. */
export function connectionOptions(url: string, name: string, limits: ConnectionLimits): pg.ClientConfig & BoundedConfig {
  return {
    connectionString: url,
    application_name: name,
    connectionTimeoutMillis: limits.connectMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    answerMs: limits.answerMs,
  };
}

/**
 * Sets the server's part of the limits. Uses a statement, not the startup packet, because poolers refuse unknown parameters there. Skips
 * settings that this server does not have and those that the operator's URL sets (`?lock_timeout=8000` or
 * `?options=-c lock_timeout=8000`).
 */
export async function limitSession(client: pg.ClientBase, limits: ConnectionLimits): Promise<void> {
  const wanted = Object.entries({
    lock_timeout: limits.lockMs,
    idle_in_transaction_session_timeout: limits.idleInTransactionMs,
    idle_session_timeout: limits.idleMs,
    statement_timeout: limits.statementMs,
    tcp_user_timeout: limits.peerMs,
    tcp_keepalives_idle: Math.ceil(limits.peerMs / 2_000),
    tcp_keepalives_interval: Math.ceil(limits.peerMs / 8_000),
    tcp_keepalives_count: 4,
  });
  await client.query(setKnown, [wanted.map(([name]) => name), wanted.map(([, value]) => String(value))]);
  // Not available on every system that PostgreSQL runs on; without it a statement of a vanished client runs until its own limit.
  await client.query(setKnown, [['client_connection_check_interval'], ['2000']]).catch((error: unknown) => {
    if (codeOf(error) === connectionLost) throw error;
  });
}

/** `client` is the source of settings that came with the connection itself. */
const setKnown = `SELECT set_config(s.name, v.value, false) FROM unnest($1::text[], $2::text[]) AS v(name, value)
  JOIN pg_settings s ON s.name = v.name WHERE s.source <> 'client'`;

interface BoundedConfig {
  /** How long one statement may stay without an answer. 0: no limit. */
  answerMs?: number;
}

/** The parts of pg's client that its types leave out. */
interface Internals {
  connection: { stream: { destroy(error?: Error): void } };
  _queryable: boolean;
  _ending: boolean;
}

const closeMs = 2_000;

/**
 * pg's client with a time limit that closes the connection. pg's own `query_timeout` abandons a statement and leaves it running on a
 * connection that then returns to the pool. Closing the connection makes everything that waits for it fail at once.
 */
export class BoundedClient extends pg.Client {
  readonly #answerMs: number;
  /** The server gave an error that this connection would always give: it is closed once it is released. */
  isUnfit = false;
  /** Called when the connection was closed because the server did not answer. */
  onSilence: () => void = () => undefined;

  constructor(config: pg.ClientConfig & BoundedConfig = {}) {
    super(config);
    this.#answerMs = config.answerMs ?? 0;
    // pg declares a dozen overloads. Those that return a promise are bounded; no code here uses the others.
    const query = this.query.bind(this) as (...args: unknown[]) => unknown;
    this.query = ((...args: unknown[]) => {
      const result = query(...args);
      return result instanceof Promise ? this.#bounded(result) : result;
    }) as pg.Client['query'];
    // Sends the termination message; a connection that does not accept it is destroyed.
    const end = this.end.bind(this) as (...args: unknown[]) => unknown;
    this.end = ((...args: unknown[]) => {
      const force = setTimeout(() => this.#internals.connection.stream.destroy(), closeMs);
      force.unref();
      this.once('end', () => clearTimeout(force));
      return end(...args);
    }) as pg.Client['end'];
  }

  get #internals(): Internals {
    return this as unknown as Internals;
  }

  async #bounded(result: Promise<unknown>): Promise<unknown> {
    const timer = this.#answerMs > 0 ? setTimeout(() => this.#closeSilent(), this.#answerMs) : undefined;
    try {
      return await result;
    } catch (error) {
      if (needsNewConnection(error)) this.isUnfit = true;
      throw this.#marked(error);
    } finally {
      clearTimeout(timer);
    }
  }

  #closeSilent(): void {
    const error = new DatabaseConnectionLost(`PostgreSQL did not answer within ${this.#answerMs} ms. The connection was closed.`);
    this.#internals.connection.stream.destroy(error);
    this.onSilence();
  }

  /** Marks errors of a lost connection, for which pg has no code; the server's own errors have one. */
  #marked(error: unknown): unknown {
    const { _queryable: isQueryable, _ending: isEnding } = this.#internals;
    return isQueryable && !isEnding ? error : markConnectionError(error);
  }
}

/**
 * pg's pool with such clients. When one of them gets no answer, the idle ones are closed too: the cause (a firewall that dropped its
 * connections, a server that was replaced) has most likely affected all, and each would cost its next user the whole time limit.
 */
export class BoundedPool extends pg.Pool {
  readonly #idle = new Set<pg.PoolClient>();

  constructor(config: pg.PoolConfig & BoundedConfig & { limit?: (client: pg.ClientBase) => Promise<void> }) {
    const { limit, ...rest } = config;
    super({ ...rest, Client: BoundedClient, ...(limit ? { onConnect: limit } : {}) } as pg.PoolConfig);
    this.on('connect', (client) => {
      (client as unknown as BoundedClient).onSilence = () => this.#closeIdle();
    });
    this.on('acquire', (client) => void this.#idle.delete(client));
    // The pool checks the client after this event and drops one that is ending.
    this.on('release', (error, client) => {
      if ((client as unknown as BoundedClient).isUnfit) void (client as unknown as BoundedClient).end();
      else if (!error) this.#idle.add(client);
    });
    this.on('remove', (client) => void this.#idle.delete(client));
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.PoolClient> | void {
    if (!callback)
      return super.connect().catch((error: unknown) => {
        throw markConnectionError(error);
      });
    super.connect((error, client, done) => callback(error && markConnectionError(error), client, done));
  }

  #closeIdle(): void {
    for (const client of this.#idle)
      (client as unknown as Internals).connection.stream.destroy(
        new DatabaseConnectionLost('Another connection to PostgreSQL got no answer. This one was idle and is closed as well.'),
      );
    this.#idle.clear();
  }
}

type Connected = (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: unknown) => void) => void;

/** Opens a separate connection with its limits set. A later error is passed to `onError`; the connection is then unusable. */
export async function openConnection(parts: {
  url: string;
  name: string;
  limits?: ConnectionLimits;
  onError: (error: Error) => void;
}): Promise<BoundedClient> {
  const { url, name, limits = defaultLimits, onError } = parts;
  const client = new BoundedClient(connectionOptions(url, name, limits));
  // Closes: the server ends the connection while it is being opened. The caller has no client yet, so its `onError` must not run.
  let opening = true;
  let broken: Error | null = null;
  client.on('error', (error) => {
    if (!opening) return onError(error);
    broken = error;
  });
  try {
    await client.connect();
    await limitSession(client, limits);
    if (broken !== null) throw broken as Error;
    opening = false;
    return client;
  } catch (error) {
    void client.end();
    throw markConnectionError(error);
  }
}
