import { AppError, type SessionSettings } from '@chasqui/shared';
import type { Response } from 'express';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { requireAccountRoom, reserveAccountRoom, type AccountLimit } from '../db/account-room.js';
import { readRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import { MediaFile } from './media-file.entity.js';
import type { FileHints, Media, MediaSource, StoredFile } from './media.js';

/**
 * Manages uploads: files that a caller uploads once and sends many times. An upload belongs to the account, or to the session to which the
 * caller's key is bound. Each message gets a copy, so that it does not depend on the upload. An upload that is not used for a day is removed.
 */
export interface Uploads {
  /** Stores a file; sealed where the storage mode withholds content. Throws like `Media.receive`, and `QUOTA_EXCEEDED` at the limit of uploads. */
  store(
    caller: Caller,
    source: MediaSource,
    hints: Omit<FileHints, 'isSealed' | 'type'>,
  ): Promise<{ file: MediaFile; stored: StoredFile }>;
  /** Returns an upload, or the file of a template. Throws `MEDIA_NOT_FOUND`, and `MEDIA_EXPIRED` if it was removed. */
  find(caller: Caller, id: string): Promise<MediaFile>;
  /** Sends its bytes, or the part that `range` asks for. Throws like `find`; sealed bytes are not sent: `MEDIA_NOT_FOUND`. */
  send(caller: Caller, id: string, res: Response, range?: string): Promise<void>;
  /** Throws `MEDIA_NOT_FOUND`, and `MEDIA_IN_USE` while a message with a copy of it is not final, or if it is the file of a template. */
  remove(caller: Caller, id: string): Promise<void>;
  /** When an upload is removed unless it is used before. Null for the file of a template. */
  expiresAt(file: MediaFile): Date | null;
  /** Deletes what was not used for a day, and the rows of what was deleted a week ago. Returns the number of deleted files. */
  prune(): Promise<number>;
}

interface Parts {
  media: Pick<Media, 'receive' | 'attach' | 'discard' | 'send' | 'remove' | 'expire'>;
  storageOf: StorageOf;
  /** The settings of a session, for its storage mode. */
  settingsOf(sessionId: string): Promise<SessionSettings | null>;
}
interface Context extends Parts, Pick<Core, 'database' | 'clock'> {}

const unusedMs = 24 * 3_600_000;
/** For how long after its removal an upload answers `MEDIA_EXPIRED`. Then its row is deleted. */
const rememberedMs = 7 * 24 * 3_600_000;
/** The maximum number of uploads that an account has at the same time. No quota of messages counts them. */
export const maxUploads = 1_000;
const room: AccountLimit = {
  scope: 'account.uploads',
  table: 'media_files',
  condition: '"usedAt" IS NOT NULL AND "deletedAt" IS NULL',
  limit: maxUploads,
};
const batchSize = 200;
const isUnfinished = `status IN ('scheduled', 'queued', 'sending', 'uncertain')`;
const inUse = `EXISTS (SELECT 1 FROM media_files c JOIN messages m ON m.id = c."messageId" WHERE c."uploadId" = media_files.id AND m.${isUnfinished})`;

export function createUploads({ database, clock }: Pick<Core, 'database' | 'clock'>, parts: Parts): Uploads {
  const context: Context = { database, clock, ...parts };
  return {
    store: (caller, source, hints) => store(context, caller, source, hints),
    find: (caller, id) => find(context, caller, id),
    send: async (caller, id, res, range) => parts.media.send(res, await find(context, caller, id), range),
    remove: (caller, id) => remove(context, caller, id),
    expiresAt: ({ usedAt }) => (usedAt ? new Date(usedAt.getTime() + unusedMs) : null),
    prune: () => prune(context),
  };
}

async function store(
  context: Context,
  caller: Caller,
  source: MediaSource,
  hints: Omit<FileHints, 'isSealed' | 'type'>,
): Promise<{ file: MediaFile; stored: StoredFile }> {
  const { database, media } = context;
  const { accountId, sessionId } = caller;
  // Before the file is received; the transaction decides.
  await requireAccountRoom(database.reader, accountId, room);
  const owner = { accountId, sessionId, mayRead: false };
  const stored = await media.receive(owner, source, { ...hints, isSealed: await isSealed(context, caller) });
  try {
    const file = await database.write.run(async (tx) => {
      await reserveAccountRoom(tx, accountId, room);
      await media.attach(tx, stored, { accountId, messageId: null, sessionId });
      await audit(context, tx, caller, 'media.upload', stored.id);
      return tx.manager.findOneByOrFail(MediaFile, { id: stored.id });
    });
    return { file, stored };
  } catch (error) {
    // If the reply to the commit was lost, the row may exist. Then the file stays, and the sweep decides.
    if (error instanceof AppError) await media.discard(stored);
    throw error;
  }
}

async function isSealed({ storageOf, settingsOf }: Context, { accountId, sessionId }: Caller): Promise<boolean> {
  const settings = (sessionId && (await settingsOf(sessionId))) || ({} as SessionSettings);
  return (await storageOf({ accountId, settings })) === 'metadata';
}

async function find({ database }: Context, { accountId, sessionId }: Caller, id: string): Promise<MediaFile> {
  const bound = sessionId === null ? '' : ' AND "sessionId" = ?';
  const values = [id, accountId, ...(sessionId === null ? [] : [sessionId])];
  const condition = `id = ? AND "accountId" = ? AND ("templateId" IS NOT NULL OR ("usedAt" IS NOT NULL${bound}))`;
  const [file] = await readRows(database.reader, MediaFile, condition, values);
  if (!file) throw new AppError('MEDIA_NOT_FOUND', {}, 'There is no upload with this id.');
  if (file.deletedAt) throw new AppError('MEDIA_EXPIRED');
  return file;
}

async function remove(context: Context, caller: Caller, id: string): Promise<void> {
  const { database, media } = context;
  const { templateId } = await find(context, caller, id);
  if (templateId)
    throw new AppError('MEDIA_IN_USE', { mediaId: id, templateId }, 'A template has this file. Change or delete the template.');
  await database.write.run(async (tx) => {
    const sql = `SELECT id FROM media_files WHERE id = ? AND ${inUse}`;
    if ((await runStatement(tx.manager, sql, [id])).rows.length > 0) throw new AppError('MEDIA_IN_USE', { mediaId: id });
    await media.remove(tx, [id]);
    await audit(context, tx, caller, 'media.delete', id);
  });
}

const audit = ({ clock }: Context, tx: Transaction, caller: Caller, action: string, objectId: string): Promise<void> =>
  recordAudit(tx, caller, { action, objectType: 'media', objectId, accountId: caller.accountId, at: clock.now() });

/** May die halfway: each commit is complete, and the next run continues. */
async function prune(context: Context): Promise<number> {
  const { clock, media } = context;
  const now = clock.now().getTime();
  const unused = `"usedAt" < ? AND "deletedAt" IS NULL AND NOT ${inUse}`;
  const expired = await inBatches(context, unused, now - unusedMs, (tx, ids) => media.expire(tx, ids));
  await inBatches(context, `"usedAt" < ? AND "deletedAt" IS NOT NULL`, now - unusedMs - rememberedMs, (tx, ids) =>
    media.remove(tx, ids),
  );
  return expired;
}

async function inBatches(
  { database }: Context,
  condition: string,
  before: number,
  run: (tx: Transaction, ids: string[]) => Promise<void>,
): Promise<number> {
  for (let count = 0; ;) {
    const ids = await database.write.run(async (tx) => {
      // Closes: a message uses the upload between the read and the deletion.
      const sql = `SELECT id FROM media_files WHERE ${condition} ORDER BY "usedAt" LIMIT ${batchSize}`;
      const found = (await runStatement<{ id: string }>(tx.manager, sql, [before])).rows.map(({ id }) => id);
      if (found.length > 0) await run(tx, found);
      return found;
    });
    count += ids.length;
    if (ids.length < batchSize) return count;
  }
}
