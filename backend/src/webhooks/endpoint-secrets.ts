import type { Database } from '../db/database.js';
import { readRows, updateRows } from '../db/rows.js';
import type { Sealer } from '../lib/sealer.js';
import type { Opened } from './send/request.js';
import { secretPrefix } from './signing.js';
import { Webhook } from './webhook.entity.js';

/** The sealed columns of endpoints: the signing secrets and the headers that are sent along. */
export interface EndpointSecrets {
  /** Returns the column `secret` for a plain secret. */
  sealSecret(webhookId: string, secret: string): string;
  /** Returns the column `headers`; null for no headers. */
  sealHeaders(webhookId: string, headers: Record<string, string>): string | null;
  /** Decrypts the secrets of an endpoint: the current one first, then the previous one while both sign. Throws when no key opens them. */
  open(webhook: Webhook, now: Date): Opened;
  /** Reads an endpoint with its secret columns, still sealed. */
  read(webhookId: string): Promise<Webhook>;
  /**
   * Returns what the API shows: the names of the headers, and the first characters of the signing secret. Returns neither for an endpoint that no
   * key opens; its deliveries fail with the reason.
   */
  shown(webhookId: string): Promise<{ headers: string[]; secretPrefix: string | null }>;
  /** Used by the job that seals data of another key again. */
  reseal: {
    /** Returns the next endpoints after an id, with their sealed columns. */
    page(after: string): Promise<Webhook[]>;
    /** Seals again what another key has sealed. Returns whether anything was written. */
    one(row: Webhook): Promise<boolean>;
  };
}

interface Context {
  database: Database;
  sealer: Sealer;
}

const sealedColumns = ['secret', 'oldSecret', 'headers'] as const;

/** The row and column that a sealed value is bound to: it cannot be opened in another place. */
const headersPlace = (webhookId: string): string => `webhooks.headers:${webhookId}`;
const secretPlace = (webhookId: string): string => `webhooks.secret:${webhookId}`;

export function createEndpointSecrets(context: Context): EndpointSecrets {
  const { database, sealer } = context;
  return {
    sealSecret: (webhookId, secret) => sealer.seal(secret, secretPlace(webhookId)),
    sealHeaders: (webhookId, headers) =>
      Object.keys(headers).length === 0 ? null : sealer.seal(JSON.stringify(headers), headersPlace(webhookId)),
    open: (webhook, now) => open(sealer, webhook, now),
    read: (webhookId) => read(database, webhookId),
    shown: (webhookId) => shown(context, webhookId),
    reseal: {
      page: (after) => readRows(database.reader, Webhook, 'id > ? ORDER BY id LIMIT 200', [after], [...sealedColumns]),
      one: (row) => reseal(context, row),
    },
  };
}

function open(sealer: Sealer, { id, secret, oldSecret, oldSecretUntil, headers }: Webhook, now: Date): Opened {
  const isOverlap = oldSecret !== null && oldSecretUntil !== null && oldSecretUntil > now;
  return {
    secrets: [secret, ...(isOverlap ? [oldSecret] : [])].map((sealed) => sealer.open(sealed, secretPlace(id))),
    headers: headers ? openHeaders(sealer, id, headers) : {},
  };
}

const openHeaders = (sealer: Sealer, id: string, headers: string): Record<string, string> =>
  JSON.parse(sealer.open(headers, headersPlace(id))) as Record<string, string>;

async function read({ reader }: Database, webhookId: string): Promise<Webhook> {
  const [row] = await readRows(reader, Webhook, 'id = ?', [webhookId], [...sealedColumns]);
  return row!;
}

async function shown({ database, sealer }: Context, webhookId: string) {
  const { secret, headers } = await read(database, webhookId);
  try {
    return {
      headers: headers === null ? [] : Object.keys(openHeaders(sealer, webhookId, headers)),
      secretPrefix: secretPrefix(sealer.open(secret, secretPlace(webhookId))),
    };
  } catch {
    return { headers: [], secretPrefix: null }; // No key opens them.
  }
}

async function reseal({ database, sealer }: Context, row: Webhook): Promise<boolean> {
  let written = 0;
  for (const column of sealedColumns) {
    const place = column === 'headers' ? headersPlace(row.id) : secretPlace(row.id);
    const sealed = row[column];
    if (sealed === null || !sealer.isStale(sealed)) continue;
    const resealed = sealer.seal(sealer.open(sealed, place), place);
    // Each under its own condition: a value that was changed meanwhile is newer, and already sealed with the first key.
    written += await database.write.run((tx) =>
      updateRows(tx, Webhook, { id: row.id, [column]: sealed }, { [column]: resealed }),
    );
  }
  return written > 0;
}
