import { AppError } from '@chasqui/shared';
import { IsNull } from 'typeorm';
import type { Accounts } from '../accounts/accounts.js';
import type { Caller } from '../accounts/caller.js';
import type { Database } from '../db/database.js';
import { importList, readPerson } from '../opt-outs/import.js';
import { readList } from '../opt-outs/lists.js';
import { OptOut } from '../opt-outs/opt-out.entity.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import { missingVariables, variablesIn } from '../templates/render.js';
import { Template } from '../templates/template.entity.js';
import type { Templates } from '../templates/templates.js';
import type { PanelVerbs } from './verbs.js';

interface Parts {
  database: Database;
  accounts: Accounts;
  templates: Templates;
  optOuts: OptOuts;
  /** The installation's, for numbers that begin with 0. */
  countryCode: string | undefined;
}

/** Implements the verbs of templates. See `createPanelVerbs`. */
export function templateVerbs({ database, accounts, templates }: Parts): PanelVerbs['templates'] {
  const ownerOf = async (caller: Caller, id: string): Promise<Caller> => {
    const row = await database.reader.getRepository(Template).findOneBy({ id, deletedAt: IsNull() });
    if (!row) throw new AppError('TEMPLATE_NOT_FOUND');
    return { ...caller, accountId: row.accountId };
  };
  return {
    async create(caller, accountId, input) {
      await requireAccount(accounts, accountId);
      return { id: (await templates.create({ ...caller, accountId }, input)).id };
    },
    update: async (caller, id, input) => void (await templates.update(await ownerOf(caller, id), id, input)),
    remove: async (caller, id) => templates.remove(await ownerOf(caller, id), id),
    async preview(accountId, input, values) {
      const variables = variablesIn(input.content);
      const missing = missingVariables(input.content, values);
      // An empty field of the form is a value that was not entered yet.
      if (missing.length > 0) return { variables, missing, text: null };
      return { variables, missing, text: (await templates.previewOf(accountId, input, values)).text };
    },
  };
}

/** Implements the verbs of opt-outs. */
export function optOutVerbs({ database, accounts, optOuts, countryCode }: Parts): PanelVerbs['optOuts'] {
  return {
    async add(caller, accountId, contacts) {
      await requireAccount(accounts, accountId);
      const waIds = contacts.map((contact) => personOf(contact, countryCode));
      const { people } = await optOuts.add({ ...caller, accountId }, waIds, 'panel');
      return { id: people[0]!.id };
    },
    async import(caller, accountId, list) {
      await requireAccount(accounts, accountId);
      return importList({ optOuts, countryCode }, { ...caller, accountId }, readList(list), 'panel');
    },
    async remove(caller, id) {
      const row = await database.reader.getRepository(OptOut).findOneBy({ id });
      if (!row) throw new AppError('OPT_OUT_NOT_FOUND');
      await optOuts.remove({ ...caller, accountId: row.accountId }, id, 'panel');
    },
    async setKeywords(caller, accountId, keywords) {
      await requireAccount(accounts, accountId);
      await optOuts.setKeywords({ ...caller, accountId }, keywords);
    },
  };
}

async function requireAccount(accounts: Accounts, id: string): Promise<void> {
  if (!(await accounts.find(id))) throw new AppError('ACCOUNT_NOT_FOUND');
}

function personOf(input: string, countryCode: string | undefined): string {
  const person = readPerson(input, countryCode);
  if (person.waId !== null) return person.waId;
  const message = `${input.slice(0, 80)}: ${person.message}`;
  throw new AppError('INVALID_RECIPIENT', { fields: [{ path: 'contacts', code: 'INVALID_RECIPIENT', message }] }, message);
}
