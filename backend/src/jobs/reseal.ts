import type { Database } from '../db/database.js';
import { readRows, updateRows } from '../db/rows.js';
import { isSystemTrouble } from '../db/trouble.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Sealer } from '../lib/sealer.js';
import { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import type { ContentStore } from '../messages/contents.js';
import { Message } from '../messages/message.entity.js';
import type { Webhooks } from '../webhooks/webhooks.js';

const together = 200;
const waiting = `status IN ('queued', 'sending', 'uncertain') AND sealed IS NOT NULL AND sealed NOT LIKE ? AND id > ? ORDER BY id LIMIT ${together}`;
const files = `"isSealed" AND state = 'stored' AND "deletedAt" IS NULL AND id > ? ORDER BY id LIMIT ${together}`;

/**
 * Seals again what another key than the first of ENCRYPTION_KEYS has sealed, so that the old one can be taken out of the list: secrets and
 * headers of webhooks, and messages and files that wait in the storage mode `metadata`. Killed anywhere, the next run goes on: all of
 * the keys still open all of it. What no key opens is left as it is, and the log names how many.
 */
export function createReseal(parts: {
  database: Database;
  sealer: Sealer;
  webhooks: Pick<Webhooks, 'reseal'>;
  contents: ContentStore;
  media: Pick<Media, 'reseal'>;
  log: Log;
  report: ReportFailure;
}) {
  const { database, sealer, webhooks, contents, media, log, report } = parts;

  /** Goes through rows by their ids. Gives how many were sealed again; what cannot be opened is told and passed over. */
  async function each<T extends { id: string }>(
    page: (after: string) => Promise<T[]>,
    anew: (row: T) => Promise<boolean>,
  ): Promise<number> {
    let done = 0;
    let unreadable = 0;
    for (let after = ''; ;) {
      const rows = await page(after);
      for (const row of rows)
        try {
          if (await anew(row)) done += 1;
        } catch (error) {
          if (isSystemTrouble(error)) throw error;
          report({ kind: 'reseal', subject: row.id, ...describeError(error) });
          if (unreadable === 0) log.error('What was sealed with a key that is not there cannot be opened.', errorFields(error));
          unreadable += 1;
        }
      if (rows.length === 0) break;
      after = rows.at(-1)!.id;
    }
    if (unreadable > 0) log.error('Some of what is sealed stays closed. Put its key back into ENCRYPTION_KEYS.', { unreadable });
    return done;
  }

  async function message(row: Message): Promise<boolean> {
    const sealed = contents.anew(row);
    // One that went on meanwhile has nothing sealed any more.
    return (
      sealed !== null &&
      (await database.write.run((tx) => updateRows(tx, Message, { id: row.id, sealed: row.sealed! }, { sealed }))) === 1
    );
  }

  return {
    async run(): Promise<void> {
      const { reader } = database;
      const steps = [
        () => each(webhooks.reseal.page, webhooks.reseal.one),
        () => each((after) => readRows(reader, Message, waiting, [`${sealer.writing}.%`, after]), message),
        () => each((after) => readRows(reader, MediaFile, files, [after]), media.reseal),
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
