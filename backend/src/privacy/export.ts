import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';
import type { Contacts } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import { attemptInHalves } from '../db/isolate.js';
import { readAmong } from '../db/rows.js';
import { isSystemError } from '../db/database-errors.js';
import { requireReadable } from '../db/unreadable.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import { isWith, type Pages } from './pages.js';
import type { PrivacyRequest } from './privacy-request.entity.js';

/** Writes everything that is held about a contact into one archive; gives how much of what. Killed during it, it is begun again. */
export function createExporter({
  database,
  pages,
  contacts,
  messages,
  media,
  dir,
  report,
}: {
  database: Database;
  pages: Pages;
  contacts: Pick<Contacts, 'stored'>;
  messages: Messages;
  media: Media;
  dir: string;
  report: ReportFailure;
}) {
  const pathOf = (id: string): string => join(dir, `${id}.zip`);

  async function exportAll(request: PrivacyRequest): Promise<Record<string, number>> {
    const traces = await pages.tracesOf(request);
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const draft = (name: string): string => join(dir, `${request.id}.${name}.part`);
    // `unreadable` counts what could not be put into the archive: it is incomplete, and says so.
    const counts: { messages: number; files: number; events: number; unreadable?: number } = { messages: 0, files: 0, events: 0 };
    const unreadable = (what: string, error: unknown): void => {
      if (isSystemError(error)) throw error;
      counts.unreadable = (counts.unreadable ?? 0) + 1;
      report({ kind: 'privacy', subject: `${request.id} ${what}`, accountId: request.accountId, ...describeError(error) });
    };
    const files: MediaFile[] = [];
    const ids = new Set<string>();
    await list(draft('messages'), async (add) => {
      for await (const page of pages.linesOf(request.accountId)) {
        const theirs = page.filter((line) => isWith(traces, line)).map(({ id }) => id);
        if (theirs.length === 0) continue;
        for (const id of theirs) ids.add(id);
        const rows: Message[] = [];
        await attemptInHalves(
          theirs,
          async (some) => void rows.push(...(await readAmong(database.reader, Message, 'id', some))),
          ([id], error) => unreadable(String(id), error),
        );
        for (const message of rows) {
          let entry: unknown;
          try {
            requireReadable(message);
            [entry] = await messages.present([message]);
          } catch (error) {
            unreadable(message.id, error);
            continue;
          }
          await add(entry);
          counts.messages += 1;
        }
        files.push(...(await readAmong(database.reader, MediaFile, 'messageId', theirs)));
      }
    });
    await list(draft('events'), async (add) => {
      for await (const page of pages.eventsOf(request.accountId))
        for (const { cursor, messageId, type, text, at } of page) {
          if (!(messageId && ids.has(messageId)) && !traces.mayBeIn(text)) continue;
          let entry: unknown;
          try {
            entry = { type, occurredAt: new Date(at).toISOString(), data: JSON.parse(text) as unknown };
          } catch (error) {
            unreadable(`event ${cursor}`, error);
            continue;
          }
          await add(entry);
          counts.events += 1;
        }
    });
    await list(draft('contacts'), async (add) => {
      for (const contact of await contacts.stored(request.accountId, traces.all())) await add(contact);
    });
    const zip = new ZipFile();
    zip.addFile(draft('messages'), 'messages.json');
    zip.addFile(draft('events'), 'events.json');
    zip.addFile(draft('contacts'), 'contacts.json');
    for (const file of files) {
      const path = media.pathOf(file.id);
      if (file.isSealed || !(await stat(path).catch(() => null))) continue;
      zip.addFile(path, `media/${file.id}${extensionOf(file)}`);
      counts.files += 1;
    }
    zip.end();
    await pipeline(zip.outputStream, createWriteStream(draft('zip'), { mode: 0o600 }));
    await rename(draft('zip'), pathOf(request.id));
    await Promise.all(['messages', 'events', 'contacts'].map((name) => rm(draft(name), { force: true })));
    return { ...counts };
  }

  return { pathOf, exportAll };
}

/** Writes a JSON list, one entry a line, without holding it in memory. */
async function list(path: string, fill: (add: (entry: unknown) => Promise<void>) => Promise<void>): Promise<void> {
  const handle: FileHandle = await open(path, 'w', 0o600);
  try {
    let isFirst = true;
    await handle.write('[');
    await fill(async (entry) => {
      await handle.write(`${isFirst ? '' : ','}\n${JSON.stringify(entry)}`);
      isFirst = false;
    });
    await handle.write('\n]\n');
  } finally {
    await handle.close();
  }
}

const extensionOf = ({ filename, mimetype }: MediaFile): string =>
  /\.[A-Za-z0-9]{1,8}$/.exec(filename ?? '')?.[0] ?? `.${mimetype.split('/')[1]?.replace(/[^a-z0-9]/g, '') ?? 'bin'}`;
