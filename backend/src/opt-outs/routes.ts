import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError, isId, pageMeta, parseRecipient, validationError, type OptOutResource } from '@chasqui/shared';
import { handled, Reply } from '@chasqui/shared/express';
import type { Response } from 'express';
import type { Caller, Mount } from '../accounts/caller.js';
import { uploadOf } from '../lib/uploads.js';
import * as contract from './contract.js';
import { readList, writeList, type ListedPerson, type ListFormat } from './lists.js';
import type { OptOuts } from './opt-outs.js';

export interface OptOutRouteParts {
  optOuts: OptOuts;
  /** The installation's, for numbers that begin with 0: an opt-out concerns all sessions of the account. */
  countryCode: string | undefined;
}

/** Mounts the routes of opt-outs. */
export function mountOptOuts(mount: Mount, parts: OptOutRouteParts): void {
  const { optOuts, countryCode } = parts;
  const idOf = (input: string, path: string): string => personOf(input, path, countryCode);
  /** A person may also be named by the id of the opt-out: it is the only name of one who was erased. */
  const refOf = (contact: string): string => (isId(contact) ? contact : idOf(contact, 'contact'));
  mount(contract.list, async ({ query }, { accountId }) => {
    const { people, total } = await optOuts.list(accountId, query);
    return new Reply(people, { meta: pageMeta(query, total) });
  });
  mount(contract.add, async ({ body }, caller) => {
    const waIds = body.contacts.map((contact, index) => idOf(contact, `contacts.${index}`));
    return (await optOuts.add(caller, waIds, 'api')).people;
  });
  mount(contract.readKeywords, (_, { accountId }) => optOuts.keywords(accountId));
  mount(contract.changeKeywords, ({ body }, caller) => optOuts.setKeywords(caller, body));
  mount(contract.exportAll, async ({ query }, { accountId }, { res }) => {
    await sendList(res, optOuts, accountId, query.format);
    return handled;
  });
  mount(contract.importAll, async ({ body }, caller, { res }) =>
    importList(parts, caller, listedIn(body, await uploadOf(res)?.bytes.whole())),
  );
  mount(contract.read, ({ params }, { accountId }) => optOuts.find(accountId, refOf(params.contact)));
  mount(contract.remove, async ({ params }, caller) => {
    await optOuts.remove(caller, refOf(params.contact), 'api');
    return { deleted: true as const };
  });
}

function personOf(input: string, path: string, countryCode: string | undefined): string {
  const result = parseRecipient(input, countryCode);
  if (result.ok && (result.address.kind === 'phone' || result.address.kind === 'lid')) return result.address.id;
  const message = result.ok ? 'This is a chat, not a person. Name a phone number, …@c.us or …@lid.' : result.message;
  throw new AppError('INVALID_RECIPIENT', { input, fields: [{ path, code: 'INVALID_RECIPIENT', message }] }, message);
}

function listedIn({ contacts }: { contacts?: string[] | undefined }, file: Buffer | undefined): ListedPerson[] {
  if ((contacts === undefined) === (file === undefined)) {
    const code = file ? 'AMBIGUOUS' : 'REQUIRED';
    throw validationError([{ path: 'contacts', code, message: 'Send contacts or a file, and not both.' }]);
  }
  const listed = file ? readList(file) : contacts!.map((input, index) => ({ row: index + 1, input }));
  if (listed.length <= contract.maxImported) return listed;
  const message = `The file names more than ${contract.maxImported} people. Import it in parts.`;
  throw validationError([{ path: 'file', code: 'TOO_BIG', message }]);
}

const batchSize = 200;
const maxReported = 1_000;

/** Adds the people of a list in batches. May die halfway: a repeat adds the others, and no person twice. */
async function importList({ optOuts, countryCode }: OptOutRouteParts, caller: Caller, listed: readonly ListedPerson[]) {
  const waIds: string[] = [];
  const invalid: { row: number; input: string; message: string }[] = [];
  for (const { row, input } of listed)
    try {
      waIds.push(personOf(input, 'contacts', countryCode));
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      invalid.push({ row, input: input.slice(0, 80), message: error.message });
    }
  let known = 0;
  for (let start = 0; start < waIds.length; start += batchSize)
    known += (await optOuts.add(caller, waIds.slice(start, start + batchSize), 'api')).known;
  return { added: waIds.length - known, known, invalid: invalid.slice(0, maxReported) };
}

async function sendList(res: Response, optOuts: OptOuts, accountId: string, format: ListFormat): Promise<void> {
  // Read before the first byte is sent, so that a database that does not answer is an error and no empty file.
  const first = await optOuts.page(accountId, '');
  res.type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/json');
  res.set({ 'Content-Disposition': `attachment; filename="opt-outs.${format}"`, 'Cache-Control': 'no-store' });
  const parts = Readable.from(writeList(pagesOf(optOuts, accountId, first), format));
  await pipeline(parts, res).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error; // The reader has gone.
  });
}

async function* pagesOf(optOuts: OptOuts, accountId: string, first: OptOutResource[]): AsyncGenerator<OptOutResource[]> {
  for (let page = first; page.length > 0; page = await optOuts.page(accountId, page.at(-1)!.id)) yield page;
}
