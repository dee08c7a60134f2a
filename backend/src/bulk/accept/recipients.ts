import { setImmediate as yieldToEventLoop } from 'node:timers/promises';
import { AppError, parseRecipient, skipReasons, type FieldError, type SkipReason } from '@chasqui/shared';
import { missingVariables, type Variables } from '../../templates/render.js';
import type { JobContent } from '../bulk.entity.js';
import { contentFor, type ContentContext } from './content.js';

/** A recipient as a request or a file names it. */
export interface RecipientInput {
  recipient: string;
  variables: Variables;
}

/** A recipient after the checks. `address`: the id of the chat; null if there is none. `skip`: why it gets no message; null if it gets one. */
export interface CheckedRecipient extends RecipientInput {
  address: string | null;
  skip: SkipReason | null;
}

/** A problem of one row. `row` counts from 1. */
export interface Issue {
  row: number;
  recipient: string;
  code: string;
  message: string;
  variables?: string[];
  /** Whether the job is refused because of it. Otherwise the row is skipped. */
  isRefusal: boolean;
}

export interface CheckedRecipients {
  rows: CheckedRecipient[];
  issues: Issue[];
}

export interface RecipientChecks {
  /** Returns all ids of the person behind each id; an id without an entry has only itself. */
  formsOf(ids: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Returns those of the ids whose people opted out. */
  optedOut(ids: readonly string[]): Promise<ReadonlySet<string>>;
}

/** The number of rows that are checked before the event loop serves other requests. */
const rowsPerTick = 250;

/** Ids of chats to which a job may write. */
const kinds = new Set(['phone', 'lid', 'group']);

/**
 * Checks all rows before anything is accepted. Rows without a valid recipient, repeated people and people who opted out are skipped: lists usually
 * have such rows, and the other recipients still get their message. A row without a value for a variable, or with a message that cannot be sent,
 * refuses the whole job: its cause is usually the message, which concerns many recipients.
 */
export async function checkRecipients(
  inputs: readonly RecipientInput[],
  content: JobContent,
  context: ContentContext,
  checks: RecipientChecks,
): Promise<CheckedRecipients> {
  const rows: CheckedRecipient[] = [];
  const issues: Issue[] = [];
  for (const [index, row] of inputs.entries()) {
    if (index % rowsPerTick === rowsPerTick - 1) await yieldToEventLoop();
    const parsed = parseRecipient(row.recipient, context.countryCode);
    const isValid = parsed.ok && kinds.has(parsed.address.kind);
    rows.push({ ...row, address: isValid ? parsed.address.id : null, skip: isValid ? null : 'INVALID_RECIPIENT' });
    if (!isValid) issues.push(skipped(index, row.recipient, 'INVALID_RECIPIENT', parsed.ok ? undefined : parsed.message));
  }
  const ids = [...new Set(rows.flatMap(({ address }) => address ?? []))];
  const forms = await checks.formsOf(ids);
  const allOf = (address: string): readonly string[] => forms.get(address) ?? [address];
  const optedOut = await checks.optedOut(ids);
  const seen = new Set<string>();
  for (const [index, row] of rows.entries()) {
    if (row.address === null) continue;
    const person = allOf(row.address);
    if (person.some((id) => seen.has(id))) row.skip = 'DUPLICATE';
    else if (optedOut.has(row.address)) row.skip = 'OPTED_OUT';
    for (const id of person) seen.add(id);
    if (row.skip) issues.push(skipped(index, row.recipient, row.skip));
  }
  issues.push(...(await checkContents(rows, content, context)));
  return { rows, issues: issues.sort((one, other) => one.row - other.row) };
}

async function checkContents(rows: readonly CheckedRecipient[], content: JobContent, context: ContentContext): Promise<Issue[]> {
  const issues: Issue[] = [];
  for (const [index, { recipient, variables, skip }] of rows.entries()) {
    if (index % rowsPerTick === rowsPerTick - 1) await yieldToEventLoop();
    if (skip) continue;
    const missing = missingVariables(content.fields, variables);
    if (missing.length > 0) {
      const message = `These variables have no value: ${missing.slice(0, 20).join(', ')}.`;
      issues.push({ row: index + 1, recipient, code: 'MISSING_VARIABLE', message, variables: missing, isRefusal: true });
      continue;
    }
    try {
      contentFor(content, variables, context);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      issues.push({ row: index + 1, recipient, code: error.code, message: sentenceOf(error), isRefusal: true });
    }
  }
  return issues;
}

/** Returns the sentence of an error that explains it best: that of its first field, or its own. */
function sentenceOf({ details, message }: AppError): string {
  const [first] = (details['fields'] as FieldError[] | undefined) ?? [];
  return first ? `${first.path}: ${first.message}` : message;
}

const skipped = (index: number, recipient: string, code: SkipReason, message: string = skipReasons[code]): Issue => ({
  row: index + 1,
  recipient,
  code,
  message,
  isRefusal: false,
});

/** The maximum number of rows that an error names. */
const maxNamed = 50;

/** Throws `MISSING_VARIABLE` or `VALIDATION_FAILED` if a row refuses the job, or if no recipient would get a message. */
export function requireAcceptable({ rows, issues }: CheckedRecipients): void {
  const refusals = issues.filter(({ isRefusal }) => isRefusal);
  const named = refusals.slice(0, maxNamed).map(({ row, recipient, code, message, variables }) => ({
    row,
    recipient,
    code,
    message,
    ...(variables ? { variables } : {}),
  }));
  const missing = refusals.filter(({ code }) => code === 'MISSING_VARIABLE');
  if (missing.length > 0) {
    const variables = [...new Set(missing.flatMap((issue) => issue.variables ?? []))];
    throw new AppError(
      'MISSING_VARIABLE',
      { variables, rows: named, refused: refusals.length },
      `Recipients without a value for a variable: ${missing.length}. The variables: ${variables.slice(0, 20).join(', ')}. See details.rows.`,
    );
  }
  if (refusals.length > 0) {
    const fields = refusals
      .slice(0, maxNamed)
      .map(({ row, code, message }) => ({ path: `recipients.${row - 1}`, code, message }));
    throw new AppError(
      'VALIDATION_FAILED',
      { fields, rows: named },
      `The message of ${refusals.length} recipients cannot be sent.`,
    );
  }
  if (rows.some(({ skip }) => skip === null)) return;
  const fields = [{ path: 'recipients', code: 'NO_RECIPIENTS', message: 'No recipient would get a message.' }];
  const first = issues.slice(0, maxNamed).map(({ row, recipient, code, message }) => ({ row, recipient, code, message }));
  throw new AppError('VALIDATION_FAILED', { fields, rows: first }, 'No recipient would get a message. See details.rows.');
}
