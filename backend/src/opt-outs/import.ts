import { parseRecipient, validationError } from '@chasqui/shared';
import type { Caller } from '../accounts/caller.js';
import { maxImported } from './contract.js';
import type { ListedPerson } from './lists.js';
import type { OptOutSource } from './opt-out.entity.js';
import type { OptOuts } from './opt-outs.js';

/** Reads the people that a request or a file names, and opts out the people of a list. */

export interface ImportParts {
  optOuts: OptOuts;
  /**
   * The installation's country code, for numbers that begin with 0. The one of a session is not used, because an opt-out applies to all sessions of
   * the account.
   */
  countryCode: string | undefined;
}

export interface ImportResult {
  added: number;
  /** People who were opted out already. */
  known: number;
  /** The first 1,000 lines that name no person. `row` counts from 1, the header of a CSV included. */
  invalid: { row: number; input: string; message: string }[];
}

const batchSize = 200;
const maxReported = 1_000;

/** Returns the id of the person that an input names, or a sentence that says why it names none. */
export function readPerson(input: string, countryCode: string | undefined): { waId: string } | { waId: null; message: string } {
  const result = parseRecipient(input, countryCode);
  if (!result.ok) return { waId: null, message: result.message };
  const { kind, id } = result.address;
  if (kind === 'phone' || kind === 'lid') return { waId: id };
  return { waId: null, message: 'This is a chat, not a person. Name a phone number, …@c.us or …@lid.' };
}

/**
 * Opts the people of a list out, in batches. May die halfway: a repeat adds the missing people, and no person twice. Throws `VALIDATION_FAILED` for a
 * list with too many people; then no person is added.
 */
export async function importList(
  { optOuts, countryCode }: ImportParts,
  caller: Caller,
  listed: readonly ListedPerson[],
  source: OptOutSource,
): Promise<ImportResult> {
  if (listed.length > maxImported) {
    const message = `The file names more than ${maxImported} people. Import it in parts.`;
    throw validationError([{ path: 'file', code: 'TOO_BIG', message }]);
  }
  const waIds: string[] = [];
  const invalid: ImportResult['invalid'] = [];
  for (const { row, input } of listed) {
    const person = readPerson(input, countryCode);
    if (person.waId !== null) waIds.push(person.waId);
    else invalid.push({ row, input: input.slice(0, 80), message: person.message });
  }
  let known = 0;
  for (let start = 0; start < waIds.length; start += batchSize)
    known += (await optOuts.add(caller, waIds.slice(start, start + batchSize), source)).known;
  return { added: waIds.length - known, known, invalid: invalid.slice(0, maxReported) };
}
