import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError, isId, pageMeta, validationError, type OptOutResource } from '@chasqui/shared';
import { handled, Reply } from '@chasqui/shared/express';
import type { Response } from 'express';
import type { Mount } from '../accounts/caller.js';
import { uploadOf } from '../lib/uploads.js';
import * as contract from './contract.js';
import { importList, readPerson, type ImportParts } from './import.js';
import { readList, writeList, type ListedPerson, type ListFormat } from './lists.js';
import type { OptOuts } from './opt-outs.js';

/** Mounts the routes of opt-outs. */
export function mountOptOuts(mount: Mount, parts: ImportParts): void {
  const { optOuts, countryCode } = parts;
  const idOf = (input: string, path: string): string => {
    const person = readPerson(input, countryCode);
    if (person.waId !== null) return person.waId;
    const { message } = person;
    throw new AppError('INVALID_RECIPIENT', { input, fields: [{ path, code: 'INVALID_RECIPIENT', message }] }, message);
  };
  /** Returns an id of the person or of the opt-out. An erased person can only be named by the id of the opt-out. */
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
    importList(parts, caller, listedIn(body, await uploadOf(res)?.bytes.whole()), 'api'),
  );
  mount(contract.read, ({ params }, { accountId }) => optOuts.find(accountId, refOf(params.contact)));
  mount(contract.remove, async ({ params }, caller) => {
    await optOuts.remove(caller, refOf(params.contact), 'api');
    return { deleted: true as const };
  });
}

function listedIn({ contacts }: { contacts?: string[] | undefined }, file: Buffer | undefined): ListedPerson[] {
  if ((contacts === undefined) === (file === undefined)) {
    const code = file ? 'AMBIGUOUS' : 'REQUIRED';
    throw validationError([{ path: 'contacts', code, message: 'Send contacts or a file, and not both.' }]);
  }
  return file ? readList(file) : contacts!.map((input, index) => ({ row: index + 1, input }));
}

async function sendList(res: Response, optOuts: OptOuts, accountId: string, format: ListFormat): Promise<void> {
  // The first page is read before a byte is sent, so that a database that does not answer causes an error reply and not an empty file.
  const first = await optOuts.page(accountId, '');
  res.type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/json');
  res.set({ 'Content-Disposition': `attachment; filename="opt-outs.${format}"`, 'Cache-Control': 'no-store' });
  const parts = Readable.from(writeList(pagesOf(optOuts, accountId, first), format));
  await pipeline(parts, res).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error; // The client has closed the connection.
  });
}

async function* pagesOf(optOuts: OptOuts, accountId: string, first: OptOutResource[]): AsyncGenerator<OptOutResource[]> {
  for (let page = first; page.length > 0; page = await optOuts.page(accountId, page.at(-1)!.id)) yield page;
}
