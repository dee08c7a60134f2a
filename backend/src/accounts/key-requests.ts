import { newId } from '@chasqui/shared';
import type { Answered } from '@chasqui/shared/express';
import type { Core } from '../core.js';
import { insertRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import { ApiKeyRequest } from './key-request.entity.js';

/**
 * Remembers the last requests of each key, for the people who debug a program. It is no audit log: rows are written in batches behind the replies, so
 * a crash loses up to `flushMs` of them, and a database that does not answer loses those that wait. Of a key that makes more than `maxRequests` in that
 * time only the last ones are ever written.
 */
export interface KeyRequests {
  /** Notes an answered request. Requests without a key are ignored. */
  note(request: Answered): void;
  /** Returns the last requests of a key, latest first, at most `maxRequests`. Includes what this process has not written yet. */
  of(keyId: string): Promise<ApiKeyRequest[]>;
  /** Writes what was noted. Rejects if the database is unavailable; these requests are lost then. */
  flush(): Promise<void>;
  /** Deletes rows that are older than the retention period. Returns how many. */
  prune(): Promise<number>;
}

export const maxRequests = 100;
const flushMs = 2_000;
const retentionMs = 7 * 86_400_000;

type Noted = Omit<ApiKeyRequest, 'id'>;

interface Context extends Pick<Core, 'database' | 'clock'> {
  /** What was not written yet, oldest first, by key. */
  noted: Map<string, Noted[]>;
  /** What is being written. */
  writing: readonly Noted[];
  timer: NodeJS.Timeout | undefined;
}

export function createKeyRequests({ database, clock }: Pick<Core, 'database' | 'clock'>): KeyRequests {
  const context: Context = { database, clock, noted: new Map(), writing: [], timer: undefined };
  return {
    note: (request) => note(context, request),
    of: (keyId) => requestsOf(context, keyId),
    flush: () => flush(context),
    prune: () => prune(context),
  };
}

function note(context: Context, { keyId, method, route, status, code, ms, requestId }: Answered): void {
  if (keyId === null) return;
  const { noted, clock } = context;
  let own = noted.get(keyId);
  if (!own) noted.set(keyId, (own = []));
  const at = clock.now();
  own.push({ keyId, at, method, route, status, code, ms: Math.round(ms), requestId });
  if (own.length > maxRequests) own.shift();
  context.timer ??= setTimeout(() => void flush(context).catch(() => undefined), flushMs).unref();
}

async function requestsOf(context: Context, keyId: string): Promise<ApiKeyRequest[]> {
  // Read before the rows: what is written in between is then in both, and not in neither.
  const waiting = [...context.writing.filter((one) => one.keyId === keyId), ...(context.noted.get(keyId) ?? [])].reverse();
  const rows = await context.database.reader
    .getRepository(ApiKeyRequest)
    .find({ where: { keyId }, order: { id: 'DESC' }, take: maxRequests });
  const unwritten = waiting.filter((one) => !rows.some((row) => isSame(row, one)));
  return [...unwritten.map((one) => ({ id: '', ...one })), ...rows].slice(0, maxRequests);
}

const isSame = (row: ApiKeyRequest, one: Noted): boolean =>
  row.requestId === one.requestId && row.at.getTime() === one.at.getTime() && row.route === one.route;

async function flush(context: Context): Promise<void> {
  clearTimeout(context.timer);
  context.timer = undefined;
  const batch = context.noted;
  if (batch.size === 0) return;
  context.noted = new Map();
  context.writing = [...batch.values()].flat();
  try {
    // One transaction for each key: on SQLite those that wait together share a commit, and one that fails is lost alone.
    const written = await Promise.allSettled([...batch].map(([keyId, requests]) => write(context, keyId, requests)));
    const refused = written.find((result) => result.status === 'rejected');
    if (refused) throw refused.reason;
  } finally {
    context.writing = [];
  }
}

/** Deletes what is older than the last `maxRequests` of a key. */
const trimSql = `DELETE FROM api_key_requests WHERE "keyId" = ? AND id <=
  (SELECT id FROM api_key_requests WHERE "keyId" = ? ORDER BY id DESC LIMIT 1 OFFSET ${maxRequests})`;

async function write({ database }: Context, keyId: string, requests: readonly Noted[]): Promise<void> {
  const rows = requests.map((request) => ({ id: newId(request.at.getTime()), ...request }));
  await database.write.run(async (tx) => {
    await insertRows(tx, ApiKeyRequest, rows);
    await runStatement(tx.manager, trimSql, [keyId, keyId]);
  });
}

async function prune({ database, clock }: Context): Promise<number> {
  const before = new Date(clock.now().getTime() - retentionMs);
  const { affected } = await database.write.run((tx) =>
    runStatement(tx.manager, 'DELETE FROM api_key_requests WHERE at < ?', [before]),
  );
  return affected;
}
