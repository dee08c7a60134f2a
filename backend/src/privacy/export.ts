import { createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ZipFile } from 'yazl';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import { attemptInHalves } from '../db/isolate.js';
import { among, readAmong, readRows } from '../db/rows.js';
import { isSystemError } from '../db/database-errors.js';
import { requireReadable } from '../db/unreadable.js';
import { describeError } from '../failures/failures.js';
import { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import type { Thumbnails } from '../media/thumbnails.js';
import { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import { presentSchedule } from '../messages/recurring/present.js';
import type { Schedules } from '../messages/recurring/schedules.js';
import { ChatUsage } from '../messages/usage/usage.entity.js';
import { isWith, type Pages } from './pages.js';
import type { PrivacyRequest } from './privacy-request.entity.js';
import type { Traces } from './traces.js';

/** The recipients of bulk jobs. */
export interface ExportableJobs {
  stored(accountId: string, traces: Traces): Promise<object[]>;
}

/** What an export uses. */
export interface Exporting extends Pick<Core, 'database' | 'report'> {
  pages: Pages;
  contacts: Pick<Contacts, 'stored'>;
  optOuts: Pick<OptOuts, 'stored'>;
  messages: Pick<Messages, 'present'>;
  schedules: Pick<Schedules, 'ofPerson'>;
  media: Pick<Media, 'pathOf'>;
  thumbnails: Pick<Thumbnails, 'presentAmong' | 'find'>;
  bulk: ExportableJobs;
  /** The folder of the archives. */
  dir: string;
}

/** The numbers of what an archive contains. `unreadable` counts what could not be written to it. */
interface Counts {
  messages: number;
  files: number;
  events: number;
  unreadable?: number;
}

/** One run of an export. */
interface Run {
  request: PrivacyRequest;
  traces: Traces;
  counts: Counts;
  /** Messages with the person. */
  ids: Set<string>;
  files: MediaFile[];
}

const listNames = ['messages', 'events', 'contacts', 'opt-outs', 'bulk-recipients', 'schedules', 'counts'] as const;

export const archivePath = (dir: string, requestId: string): string => join(dir, `${requestId}.zip`);

/** Where an export writes a part before the archive is complete. */
const draftPath = (dir: string, requestId: string, name: string): string => join(dir, `${requestId}.${name}.part`);

/** Returns the ids of the exports that have files in the folder. */
export async function exportsIn(dir: string): Promise<string[]> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return [...new Set(names.flatMap((name) => /^([\w-]{1,64})\.(?:zip|[\w-]+\.part)$/.exec(name)?.[1] ?? []))];
}

/** Deletes the archive of an export, and what an export that failed or was killed has left. */
export async function deleteExport(dir: string, requestId: string): Promise<void> {
  for (const name of [...listNames, 'zip']) await rm(draftPath(dir, requestId, name), { force: true });
  await rm(archivePath(dir, requestId), { force: true });
}

/** Writes everything that is stored about a contact into one archive (`archivePath`). Returns its numbers. A killed run is repeated as a whole. */
export async function exportContact(context: Exporting, request: PrivacyRequest): Promise<Record<string, number>> {
  const { pages, contacts, optOuts, schedules, dir } = context;
  const counts: Counts = { messages: 0, files: 0, events: 0 };
  const run: Run = { request, traces: await pages.tracesOf(request), counts, ids: new Set(), files: [] };
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const draft = (name: string): string => draftPath(dir, request.id, name);
  await writeList(draft('messages'), (add) => addMessages(context, run, add));
  await writeList(draft('events'), (add) => addEvents(context, run, add));
  await writeList(draft('contacts'), async (add) => {
    for (const contact of await contacts.stored(request.accountId, run.traces.all())) await add(contact);
  });
  await writeList(draft('bulk-recipients'), async (add) => {
    for (const row of await context.bulk.stored(request.accountId, run.traces)) await add(row);
  });
  await writeList(draft('opt-outs'), async (add) => {
    for (const optOut of await optOuts.stored(request.accountId, run.traces.all())) await add(optOut);
  });
  await writeList(draft('schedules'), async (add) => {
    const theirs = await schedules.ofPerson(request.accountId, (id) => run.traces.has(id));
    for (const view of theirs) await add(presentSchedule(view));
  });
  await writeList(draft('counts'), (add) => addCounts(context, run, add));
  await writeArchive(context, run, draft);
  await rename(draft('zip'), archivePath(dir, request.id));
  await Promise.all(listNames.map((name) => rm(draft(name), { force: true })));
  return { ...counts };
}

async function addMessages(context: Exporting, run: Run, add: AddEntry): Promise<void> {
  const { database, pages, messages } = context;
  for await (const page of pages.linesOf(run.request.accountId)) {
    const ids = page.filter((line) => isWith(run.traces, line)).map(({ id }) => id);
    if (ids.length === 0) continue;
    for (const id of ids) run.ids.add(id);
    const rows: Message[] = [];
    await attemptInHalves(
      ids,
      async (some) => void rows.push(...(await readAmong(database.reader, Message, 'id', some))),
      ([id], error) => skip(context, run, String(id), error),
    );
    for (const message of rows) {
      let entry: unknown;
      try {
        requireReadable(message);
        [entry] = await messages.present([message]);
      } catch (error) {
        skip(context, run, message.id, error);
        continue;
      }
      await add(entry);
      run.counts.messages += 1;
    }
    run.files.push(...(await readAmong(database.reader, MediaFile, 'messageId', ids)));
  }
}

/** How many messages the person's chat had on each day in UTC. */
async function addCounts({ database }: Exporting, { request, traces }: Run, add: AddEntry): Promise<void> {
  const theirs = among(database.reader, 'chatId', traces.all());
  const condition = `"accountId" = ? AND ${theirs.condition} ORDER BY at, "sessionId", "chatId"`;
  const rows = await readRows(database.reader, ChatUsage, condition, [request.accountId, theirs.parameter]);
  for (const { at, sessionId, chatId, inbound, outbound } of rows)
    await add({ date: new Date(at).toISOString().slice(0, 10), sessionId, chatId, inbound, outbound });
}

async function addEvents(context: Exporting, run: Run, add: AddEntry): Promise<void> {
  for await (const page of context.pages.eventsOf(run.request.accountId))
    for (const { cursor, messageId, type, text, at } of page) {
      if (!(messageId && run.ids.has(messageId)) && !run.traces.mayBeIn(text)) continue;
      let entry: unknown;
      try {
        entry = { type, occurredAt: new Date(at).toISOString(), data: JSON.parse(text) as unknown };
      } catch (error) {
        skip(context, run, `event ${cursor}`, error);
        continue;
      }
      await add(entry);
      run.counts.events += 1;
    }
}

/** Counts and reports what cannot be read. Throws the error when the next item would fail in the same way. */
function skip({ report }: Exporting, { request: { id, accountId }, counts }: Run, subject: string, error: unknown): void {
  if (isSystemError(error)) throw error;
  counts.unreadable = (counts.unreadable ?? 0) + 1;
  report({ kind: 'privacy', subject: `${id} ${subject}`, accountId, ...describeError(error) });
}

/** How often the archive is begun again because a file was deleted while it was written. */
const maxArchiveTries = 5;

/** Writes the archive. A file that is deleted meanwhile, by the retention period for example, is left out. */
async function writeArchive(context: Exporting, run: Run, draft: (name: string) => string): Promise<void> {
  for (let tries = 1; ; tries += 1)
    try {
      run.counts.files = await writeZip(context, run, draft);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === maxArchiveTries) throw error;
    }
}

/** Returns the number of media files in the archive. */
async function writeZip({ media, thumbnails }: Exporting, { files, ids }: Run, draft: (name: string) => string): Promise<number> {
  const zip = new ZipFile();
  const output = zip.outputStream as Readable;
  // Without a listener, a file that cannot be read would be an uncaught exception.
  zip.on('error', (error: Error) => output.destroy(error));
  const written = pipeline(output, createWriteStream(draft('zip'), { mode: 0o600 }));
  // Until it is awaited below.
  written.catch(() => undefined);
  for (const name of listNames) zip.addFile(draft(name), `${name}.json`);
  let added = 0;
  for (const file of files) {
    const path = media.pathOf(file.id);
    if (file.isSealed || !(await stat(path).catch(() => null))) continue;
    zip.addFile(path, `media/${file.id}${extensionOf(file)}`);
    added += 1;
  }
  for (const { id, type } of await thumbnails.presentAmong([...ids]))
    zip.addReadStreamLazy(`thumbnails/${id}.${type === 'image/png' ? 'png' : 'jpg'}`, (done) => {
      void readThumbnail(thumbnails, id).then(
        (stream) => void done(null, stream),
        (error: unknown) => void done(error, Readable.from([])),
      );
    });
  zip.end();
  await written;
  return added;
}

/** Rejects with the code of a missing file if the thumbnail was deleted meanwhile. */
async function readThumbnail(thumbnails: Exporting['thumbnails'], id: string): Promise<Readable> {
  const picture = await thumbnails.find(id);
  if (!picture) throw Object.assign(new Error('The thumbnail was deleted meanwhile.'), { code: 'ENOENT' });
  return Readable.from([picture]);
}

type AddEntry = (entry: unknown) => Promise<void>;

/** Writes a JSON list, one entry a line, as its entries come. */
async function writeList(path: string, fill: (add: AddEntry) => Promise<void>): Promise<void> {
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
