import type { BulkJob, BulkRecipient } from '../bulk/bulk.entity.js';
import type { BulkUpkeep } from '../bulk/upkeep.js';
import type { Core } from '../core.js';
import { isSystemError } from '../db/database-errors.js';
import { readRows, updateRows } from '../db/rows.js';
import { describeError } from '../failures/failures.js';
import { errorFields } from '../lib/log.js';
import type { Sealer } from '../lib/sealer.js';
import { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import type { StoredReplies, StoredReply } from '../messages/accept/stored-replies.js';
import { Message } from '../messages/message.entity.js';
import type { Schedule } from '../messages/recurring/schedule.entity.js';
import type { Schedules } from '../messages/recurring/schedules.js';
import type { ContentStore } from '../messages/sealed-content.js';
import type { OptOutSettings } from '../opt-outs/opt-out.entity.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { SessionProxies } from '../sessions/proxies.js';
import type { Session } from '../sessions/session.entity.js';
import type { EndpointSecrets } from '../webhooks/endpoint-secrets.js';
import type { Webhook } from '../webhooks/webhook.entity.js';

/**
 * Seals with the first key of ENCRYPTION_KEYS what an older key has sealed, so that the older one can be removed from the list: secrets and headers
 * of webhooks, passwords of proxies, stored replies, the hash keys of opt-outs, and the messages, schedules, files and bulk jobs that are sealed in the storage mode
 * `metadata`. May die halfway, and the next run continues, because the list of keys opens both. A row that no key opens is left unchanged and
 * reported, and the number of such rows is logged.
 */
export interface Reseal {
  /** Returns the number of rows that were sealed again. Throws the first failure of the database, after all kinds of rows were tried. */
  run(): Promise<number>;
}

type ResealCore = Pick<Core, 'database' | 'log' | 'report'>;

export interface ResealParts {
  sealer: Sealer;
  endpointSecrets: Pick<EndpointSecrets, 'reseal'>;
  proxies: Pick<SessionProxies, 'reseal'>;
  contents: ContentStore;
  media: Pick<Media, 'reseal'>;
  replies: Pick<StoredReplies, 'reseal'>;
  bulk: Pick<BulkUpkeep, 'resealJobs' | 'resealRows'>;
  optOuts: Pick<OptOuts, 'reseal'>;
  schedules: Pick<Schedules, 'reseal'>;
}

interface Context extends ResealCore, ResealParts {}

/** One kind of sealed rows. */
interface Step<T> {
  /** Returns the rows after `last`, in order; empty at the end. */
  page: (last: T | null) => Promise<T[]>;
  /** Returns whether the row was sealed again. */
  reseal: (row: T) => Promise<boolean>;
  /** Returns the subject of the report about a row that cannot be opened. */
  subjectOf: (row: T) => string;
}

const batchSize = 200;
const waiting = `status IN ('scheduled', 'queued', 'sending', 'uncertain') AND sealed IS NOT NULL AND SUBSTR(sealed, 1, ?) <> ? AND id > ? ORDER BY id LIMIT ${batchSize}`;
const files = `"isSealed" AND state = 'stored' AND "deletedAt" IS NULL AND id > ? ORDER BY id LIMIT ${batchSize}`;

export function createReseal({ database, log, report }: ResealCore, parts: ResealParts): Reseal {
  const context: Context = { database, log, report, ...parts };
  return { run: () => run(context) };
}

/** Returns one function for each kind of rows, which seals them again and returns their number. */
function stepsOf(context: Context): (() => Promise<number>)[] {
  const { database, sealer, endpointSecrets, proxies, media, replies, bulk, optOuts, schedules } = context;
  const { reader } = database;
  const prefix = `${sealer.writing}.`;
  const webhooks: Step<Webhook> = {
    page: (last) => endpointSecrets.reseal.page(last?.id ?? ''),
    reseal: endpointSecrets.reseal.one,
    subjectOf: idOf,
  };
  const sessions: Step<Session> = {
    page: (last) => proxies.reseal.page(last?.id ?? ''),
    reseal: proxies.reseal.one,
    subjectOf: idOf,
  };
  const messages: Step<Message> = {
    page: (last) => readRows(reader, Message, waiting, [prefix.length, prefix, last?.id ?? '']),
    reseal: (row) => resealMessage(context, row),
    subjectOf: idOf,
  };
  const mediaFiles: Step<MediaFile> = {
    page: (last) => readRows(reader, MediaFile, files, [last?.id ?? '']),
    reseal: media.reseal,
    subjectOf: idOf,
  };
  const storedReplies: Step<StoredReply> = {
    page: replies.reseal.page,
    reseal: replies.reseal.one,
    subjectOf: ({ accountId, key }) => `${accountId} ${key}`,
  };
  const jobs: Step<BulkJob> = {
    page: (last) => bulk.resealJobs.page(prefix, last),
    reseal: bulk.resealJobs.one,
    subjectOf: idOf,
  };
  const recipients: Step<BulkRecipient> = {
    page: (last) => bulk.resealRows.page(prefix, last),
    reseal: bulk.resealRows.one,
    subjectOf: ({ jobId, position }) => `${jobId} ${position}`,
  };
  const optOutKeys: Step<OptOutSettings> = {
    page: (last) => optOuts.reseal.page(last?.accountId ?? ''),
    reseal: optOuts.reseal.one,
    subjectOf: ({ accountId }) => accountId,
  };
  const recurring: Step<Schedule> = { page: schedules.reseal.page, reseal: schedules.reseal.one, subjectOf: idOf };
  return [
    () => resealRows(context, webhooks),
    () => resealRows(context, sessions),
    () => resealRows(context, messages),
    () => resealRows(context, recurring),
    () => resealRows(context, mediaFiles),
    () => resealRows(context, storedReplies),
    () => resealRows(context, jobs),
    () => resealRows(context, recipients),
    () => resealRows(context, optOutKeys),
  ];
}

async function run(context: Context): Promise<number> {
  const { sealer, log } = context;
  let count = 0;
  let failed: { error: unknown } | null = null;
  for (const step of stepsOf(context))
    try {
      count += await step();
    } catch (error) {
      failed ??= { error };
    }
  if (count > 0) log.info('What an older key had sealed is now sealed with the first key.', { count, keyId: sealer.writing });
  if (failed) throw failed.error;
  return count;
}

/** Reads the rows page by page. Returns how many were sealed again; a row that cannot be opened is reported and skipped. */
async function resealRows<T>({ log, report }: Context, { page, reseal, subjectOf }: Step<T>): Promise<number> {
  let count = 0;
  let unreadable = 0;
  for (let last: T | null = null; ;) {
    const rows: T[] = await page(last);
    for (const row of rows)
      try {
        if (await reseal(row)) count += 1;
      } catch (error) {
        if (isSystemError(error)) throw error;
        report({ kind: 'reseal', subject: subjectOf(row), ...describeError(error) });
        if (unreadable === 0) log.error('A sealed row cannot be opened: its key is not in ENCRYPTION_KEYS.', errorFields(error));
        unreadable += 1;
      }
    if (rows.length === 0) break;
    last = rows.at(-1)!;
  }
  if (unreadable > 0) log.error('Some sealed rows could not be opened. Put their key back into ENCRYPTION_KEYS.', { unreadable });
  return count;
}

/** Does nothing if the message was sent since it was read: its content is not sealed any more. */
async function resealMessage({ database, contents }: Context, row: Message): Promise<boolean> {
  const sealed = contents.resealed(row);
  if (sealed === null) return false;
  const { id, sealed: before } = row;
  return (await database.write.run((tx) => updateRows(tx, Message, { id, sealed: before! }, { sealed }))) === 1;
}

const idOf = ({ id }: { id: string }): string => id;
