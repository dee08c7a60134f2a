import { AppError, thumbnailTypeOf, type ThumbnailType } from '@chasqui/shared';
import type { Response } from 'express';
import type { Core } from '../core.js';
import { among, insertMissing, readRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { Thumbnail } from './thumbnail.entity.js';

/**
 * Stores the thumbnails of messages: small pictures that WhatsApp delivers with files. They are in the database and not on the disk, so that one
 * commit writes a message with its thumbnail, or deletes both.
 */
export interface Thumbnails {
  /** Stores the thumbnail of a message, in base64. If the message has one, that one stays. */
  store(tx: Transaction, owner: { messageId: string; sessionId: string }, data: string): Promise<void>;
  /** Deletes the thumbnails of messages. Messages without one are no error. */
  remove(tx: Transaction, messageIds: readonly string[]): Promise<void>;
  /** Returns the picture of a message; null if there is none. The caller must check the access. */
  find(messageId: string): Promise<Buffer | null>;
  /** Returns those of these messages that have a thumbnail, with its type. */
  presentAmong(messageIds: readonly string[]): Promise<{ id: string; type: ThumbnailType }[]>;
  /**
   * Sends the thumbnail of a message as a picture that no browser takes for a page. Throws `MEDIA_NOT_FOUND` if there is none, and `MEDIA_EXPIRED` if
   * the message had one (`hadOne`) that was deleted.
   */
  send(res: Response, messageId: string, hadOne: boolean): Promise<void>;
  /** Deletes the thumbnails of deleted sessions, in batches. May end halfway; the next run continues. Returns their number. */
  removeOfDeletedSessions(): Promise<number>;
}

/** The number of rows that one commit deletes. */
const batchSize = 500;

const ofDeletedSql = `SELECT t."messageId" AS id FROM sessions s JOIN message_thumbnails t ON t."sessionId" = s.id
  WHERE s."deletedAt" IS NOT NULL LIMIT ${batchSize}`;

export function createThumbnails({ database }: Pick<Core, 'database'>): Thumbnails {
  const { reader } = database;
  const find = async (messageId: string): Promise<Buffer | null> => {
    const [row] = await readRows(reader, Thumbnail, '"messageId" = ?', [messageId]);
    return row ? Buffer.from(row.data, 'base64') : null;
  };
  return {
    store: (tx, owner, data) => insertMissing(tx, Thumbnail, [{ ...owner, data }]),
    remove,
    find,
    async presentAmong(messageIds) {
      const some = among(reader, 'messageId', messageIds);
      // The first characters show the type.
      const sql = `SELECT "messageId" AS id, SUBSTR(data, 1, 16) AS start FROM message_thumbnails WHERE ${some.condition}`;
      const { rows } = await runStatement<{ id: string; start: string }>(reader, sql, [some.parameter]);
      return rows.map(({ id, start }) => ({ id, type: thumbnailTypeOf(start) ?? 'image/jpeg' }));
    },
    send: async (res, messageId, hadOne) => send(res, await find(messageId), hadOne),
    removeOfDeletedSessions: () => removeOfDeletedSessions(database),
  };
}

async function remove(tx: Transaction, messageIds: readonly string[]): Promise<void> {
  if (messageIds.length === 0) return;
  const some = among(tx.manager, 'messageId', messageIds);
  await runStatement(tx.manager, `DELETE FROM message_thumbnails WHERE ${some.condition}`, [some.parameter]);
}

/** The headers are those of a message's file. */
function send(res: Response, picture: Buffer | null, hadOne: boolean): void {
  const type = picture && thumbnailTypeOf(picture.toString('base64'));
  if (!picture && hadOne) throw new AppError('MEDIA_EXPIRED', {}, 'The thumbnail of this message was deleted.');
  if (!picture || !type) throw new AppError('MEDIA_NOT_FOUND', {}, 'This message has no thumbnail.');
  if (res.destroyed) return;
  res.set({
    'Content-Type': type,
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "sandbox; default-src 'none'",
    'Content-Disposition': 'inline',
    'Cache-Control': 'private, max-age=3600, no-transform',
    'Content-Length': String(picture.length),
  });
  res.end(res.req.method === 'HEAD' ? undefined : picture);
}

async function removeOfDeletedSessions(database: Core['database']): Promise<number> {
  for (let removed = 0; ;) {
    const { rows } = await runStatement<{ id: string }>(database.reader, ofDeletedSql, []);
    const ids = rows.map(({ id }) => id);
    await database.write.run((tx) => remove(tx, ids));
    removed += ids.length;
    if (ids.length < batchSize) return removed;
  }
}
