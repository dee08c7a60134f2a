import type { Database } from '../db/database.js';
import { readRows, updateRows } from '../db/rows.js';
import { isSystemError } from '../db/database-errors.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Sealer } from '../lib/sealer.js';
import { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import type { ContentStore } from '../messages/sealed-content.js';
import { Message } from '../messages/message.entity.js';
import type { StoredReplies, StoredReply } from '../messages/accept/stored-replies.js';
import type { EndpointSecrets } from '../webhooks/endpoint-secrets.js';
import type { Webhook } from '../webhooks/webhook.entity.js';

const batchSize = 200;
const waiting = `status IN ('queued', 'sending', 'uncertain') AND sealed IS NOT NULL AND SUBSTR(sealed, 1, ?) <> ? AND id > ? ORDER BY id LIMIT ${batchSize}`;
const files = `"isSealed" AND state = 'stored' AND "deletedAt" IS NULL AND id > ? ORDER BY id LIMIT ${batchSize}`;

/**
 * Seals again what another key than the first of ENCRYPTION_KEYS has sealed, so that the old one can be taken out of the list: secrets and
 * headers of webhooks, messages and files that wait in the storage mode `metadata`, and stored replies. Killed anywhere, the next run goes on: all of
 * the keys still open all of it. What no key opens is left as it is, and the log names how many.
 */
export function createReseal(parts: {
  database: Database;
  sealer: Sealer;
  endpointSecrets: Pick<EndpointSecrets, 'reseal'>;
  contents: ContentStore;
  media: Pick<Media, 'reseal'>;
  replies: Pick<StoredReplies, 'reseal'>;
  log: Log;
  report: ReportFailure;
}) {
  const { database, sealer, endpointSecrets, contents, media, replies, log, report } = parts;

  /** Goes through rows page by page. Returns how many were sealed again; what cannot be opened is reported and passed over. */
  async function each<T>(
    page: (last: T | null) => Promise<T[]>,
    reseal: (row: T) => Promise<boolean>,
    subjectOf: (row: T) => string,
  ): Promise<number> {
    let done = 0;
    let unreadable = 0;
    for (let last: T | null = null; ;) {
      const rows: T[] = await page(last);
      for (const row of rows)
        try {
          if (await reseal(row)) done += 1;
        } catch (error) {
          if (isSystemError(error)) throw error;
          report({ kind: 'reseal', subject: subjectOf(row), ...describeError(error) });
          if (unreadable === 0) log.error('What was sealed with a key that is not there cannot be opened.', errorFields(error));
          unreadable += 1;
        }
      if (rows.length === 0) break;
      last = rows.at(-1)!;
    }
    if (unreadable > 0) log.error('Some of what is sealed stays closed. Put its key back into ENCRYPTION_KEYS.', { unreadable });
    return done;
  }

  async function message(row: Message): Promise<boolean> {
    const sealed = contents.resealed(row);
    // One that went on meanwhile has nothing sealed any more.
    return (
      sealed !== null &&
      (await database.write.run((tx) => updateRows(tx, Message, { id: row.id, sealed: row.sealed! }, { sealed }))) === 1
    );
  }

  return {
    async run(): Promise<void> {
      const { reader } = database;
      const start = `${sealer.writing}.`;
      const steps = [
        () => each<Webhook>((last) => endpointSecrets.reseal.page(last?.id ?? ''), endpointSecrets.reseal.one, idOf),
        () => each<Message>((last) => readRows(reader, Message, waiting, [start.length, start, last?.id ?? '']), message, idOf),
        () => each<MediaFile>((last) => readRows(reader, MediaFile, files, [last?.id ?? '']), media.reseal, idOf),
        () => each<StoredReply>(replies.reseal.page, replies.reseal.one, ({ accountId, key }) => `${accountId} ${key}`),
      ];
      let done = 0;
      let failed: { error: unknown } | null = null;
      for (const step of steps)
        try {
          done += await step();
        } catch (error) {
          failed ??= { error };
        }
      if (done > 0)
        log.info('What another key had sealed is sealed with the first one now.', { count: done, keyId: sealer.writing });
      if (failed) throw failed.error;
    },
  };
}

const idOf = ({ id }: { id: string }): string => id;
