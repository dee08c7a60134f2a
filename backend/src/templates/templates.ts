import {
  allows,
  AppError,
  fileSpecOf,
  isMediaType,
  newId,
  textOf,
  type FileOptionValues,
  type MediaRef,
  type MediaType,
  type MessageTemplateResource,
} from '@chasqui/shared';
import { IsNull } from 'typeorm';
import type { Caller } from '../accounts/caller.js';
import type { Plans } from '../accounts/plans.js';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import { requireAccountRoom, reserveAccountRoom, type AccountLimit } from '../db/account-room.js';
import { insertRow, isConflict, lockRows, readRows, updateRows } from '../db/rows.js';
import { readable } from '../db/unreadable.js';
import { containing } from '../db/sql.js';
import type { Transaction } from '../db/unit-of-work.js';
import { sourceOf, type Media, type StoredFile } from '../media/media.js';
import { checkContent, contentOf, filledFields, type Fields, type FileFields, type TemplateType } from './content.js';
import { pruneVersions } from './prune.js';
import { hasVariables, variablesIn, type Variables } from './render.js';
import { Template, TemplateVersion } from './template.entity.js';

/**
 * Templates: messages with variables. Each change of the content creates a version, and a version never changes: a send or a job that began with one
 * uses it to its end. A file is copied when a version is created, so it cannot disappear; only a URL with variables is downloaded at each send. Verbs
 * that name a template throw `TEMPLATE_NOT_FOUND`.
 */
export interface Templates {
  list(
    accountId: string,
    query: { search?: string | undefined; limit: number; offset: number },
  ): Promise<{ templates: MessageTemplateResource[]; total: number }>;
  /** `version`: an earlier one; absent: the current one. */
  find(accountId: string, id: string, version?: number): Promise<MessageTemplateResource>;
  /** Throws `VALIDATION_FAILED`, `ALREADY_EXISTS`, `QUOTA_EXCEEDED` at the limit of templates, and the errors of its file. */
  create(caller: Caller, input: TemplateInput): Promise<MessageTemplateResource>;
  /** Throws as `create`. */
  update(caller: Caller, id: string, changes: TemplateChanges): Promise<MessageTemplateResource>;
  remove(caller: Caller, id: string): Promise<void>;
  /** Returns what the current version becomes. Throws `MISSING_VARIABLE` and `VALIDATION_FAILED`. */
  preview(accountId: string, id: string, variables: Variables): Promise<Preview>;
  /** The same for a content that is not stored. */
  previewOf(accountId: string, input: Omit<TemplateInput, 'name'>, variables: Variables): Promise<Preview>;

  /** Returns the current version, for a send, or for a job that stores its content. */
  current(accountId: string, id: string): Promise<TemplateVersion>;
  /** Returns one version, also of a deleted template. Null if the version does not exist any more. */
  templateVersion(accountId: string, id: string, version: number): Promise<TemplateVersion | null>;
  /** Returns the fields of a send request, filled in the language and the time zone of the account. Throws the errors of `preview`. */
  fieldsOf(version: Pick<TemplateVersion, 'accountId' | 'type' | 'content'>, variables: Variables): Promise<Fields>;
  /** Deletes versions that were replaced, or whose template was deleted, a long time ago. Returns their number. */
  prune(): Promise<number>;
}

export interface TemplateInput {
  name: string;
  type: TemplateType;
  content: Fields;
}
export type TemplateChanges = { [K in keyof TemplateInput]?: TemplateInput[K] | undefined };

export interface Preview {
  type: TemplateType;
  content: Fields;
  text: string | null;
}

export interface TemplateParts {
  media: Pick<Media, 'receive' | 'attach' | 'discard' | 'remove'>;
  limitsOf: Plans['limitsOf'];
  /** Throws `VALIDATION_FAILED` for options that a file of the type cannot have. */
  checkFileOptions(type: MediaType, options: FileOptionValues): void;
  /** The installation's country code, for numbers that begin with 0. The one of a session is not used, because any session may send a template. */
  countryCode: string | undefined;
}

type TemplateCore = Pick<Core, 'database' | 'clock'>;
interface Context extends TemplateCore, TemplateParts {}

/** The maximum number of templates of an account. */
export const maxTemplates = 1_000;
const room: AccountLimit = {
  scope: 'account.templates',
  table: 'templates',
  condition: '"deletedAt" IS NULL',
  limit: maxTemplates,
};
const maxTries = 5;

export function createTemplates({ database, clock }: TemplateCore, parts: TemplateParts): Templates {
  const context: Context = { database, clock, ...parts };
  return {
    list: (accountId, query) => list(context, accountId, query),
    find: (accountId, id, version) => find(context, accountId, id, version),
    create: (caller, input) => create(context, caller, input),
    update: (caller, id, changes) => update(context, caller, id, changes),
    remove: (caller, id) => remove(context, caller, id),
    preview: async (accountId, id, variables) => preview(context, await current(context, accountId, id), variables),
    previewOf: async (accountId, { type, content }, variables) => {
      check(context, type, content);
      return preview(context, { accountId, type, content }, variables);
    },
    current: (accountId, id) => current(context, accountId, id),
    templateVersion: (accountId, id, version) => readVersion(context, accountId, id, version),
    fieldsOf: (version, variables) => fieldsOf(context, version, variables),
    prune: () => pruneVersions(context, parts),
  };
}

async function list(
  { database: { reader } }: Context,
  accountId: string,
  { search, limit, offset }: { search?: string | undefined; limit: number; offset: number },
): Promise<{ templates: MessageTemplateResource[]; total: number }> {
  const where = { accountId, deletedAt: IsNull(), ...(search === undefined ? {} : { name: containing(reader, search) }) };
  const order = { name: 'ASC', id: 'ASC' } as const;
  const [rows, total] = await reader.getRepository(Template).findAndCount({ where, order, take: limit, skip: offset });
  const wanted = rows.map(({ id, version }) => ({ templateId: id, version }));
  const versions = wanted.length > 0 ? await reader.getRepository(TemplateVersion).findBy(wanted) : [];
  const byId = new Map(versions.map((version) => [version.templateId, version]));
  return { templates: rows.flatMap((row) => (byId.has(row.id) ? present(row, byId.get(row.id)!) : [])), total };
}

async function find(context: Context, accountId: string, id: string, version?: number): Promise<MessageTemplateResource> {
  const row = await findTemplate(context, accountId, id);
  const stored = await readVersion(context, accountId, id, version ?? row.version);
  if (!stored) throw new AppError('TEMPLATE_NOT_FOUND');
  return present(row, stored);
}

async function findTemplate({ database }: Context, accountId: string, id: string): Promise<Template> {
  const row = await database.reader.getRepository(Template).findOneBy({ id, accountId, deletedAt: IsNull() });
  if (!row) throw new AppError('TEMPLATE_NOT_FOUND');
  return row;
}

/** The present version of a template that is not deleted. */
const currentSql = `"templateId" = ? AND "accountId" = ? AND version = (SELECT t.version FROM templates t WHERE t.id = "templateId" AND t."deletedAt" IS NULL)`;

async function current({ database }: Context, accountId: string, id: string): Promise<TemplateVersion> {
  const [version] = await readRows(database.reader, TemplateVersion, currentSql, [id, accountId]);
  if (!version) throw new AppError('TEMPLATE_NOT_FOUND');
  return version;
}

async function readVersion(
  { database }: Context,
  accountId: string,
  templateId: string,
  version: number,
): Promise<TemplateVersion | null> {
  const condition = '"templateId" = ? AND "accountId" = ? AND version = ?';
  const [found = null] = await readRows(database.reader, TemplateVersion, condition, [templateId, accountId, version]);
  return found;
}

async function create(context: Context, caller: Caller, input: TemplateInput): Promise<MessageTemplateResource> {
  const { database, clock } = context;
  const { accountId } = caller;
  check(context, input.type, input.content);
  // Before its file is received; the transaction decides.
  await requireAccountRoom(database.reader, accountId, room);
  const now = clock.now();
  const { name } = input;
  const id = newId(now.getTime());
  const row: Template = { id, accountId, name, liveName: name, version: 1, createdAt: now, updatedAt: now, deletedAt: null };
  return withFile(context, caller, input, async (made, file) => {
    const version = versionOf(row, input.type, made, file, now);
    await database.write.run(async (tx) => {
      await reserveAccountRoom(tx, accountId, room);
      await insertRow(tx, Template, row);
      await insertVersion(context, tx, version, file);
      await audit(context, tx, caller, 'template.create', id, { name, type: input.type });
    });
    return present(row, version);
  });
}

/** Begins again if another call has changed what this one keeps of the template. Gives up after `maxTries`. */
async function update(context: Context, caller: Caller, id: string, changes: TemplateChanges): Promise<MessageTemplateResource> {
  for (let tries = 1; ; tries += 1) {
    const updated = await updateOnce(context, caller, id, changes);
    if (updated) return find(context, caller.accountId, id);
    if (tries === maxTries) throw new Error('A template was changed by other calls again and again.');
  }
}

/** Returns false if another call has changed the type or the content of the template, and this one names only one of them. */
async function updateOnce(context: Context, caller: Caller, id: string, changes: TemplateChanges): Promise<boolean> {
  const { accountId } = caller;
  const before = await current(context, accountId, id);
  const { type, content } = changes;
  if (type === undefined && content === undefined) {
    await conflicts(() => writeChange(context, caller, id, changes, null));
    return true;
  }
  const isKept = (now: TemplateVersion): boolean =>
    (type !== undefined || now.type === before.type) && (content !== undefined || now.version === before.version);
  const input = { type: type ?? before.type, content: content ?? before.content };
  check(context, input.type, input.content);
  return withFile(context, caller, input, async (made, file) => {
    const isWritten = await writeChange(context, caller, id, changes, { type: input.type, content: made, file, isKept });
    if (!isWritten && file) await context.media.discard(file);
    return isWritten;
  });
}

/** A content that becomes the next version. `isKept`: whether the template still has what the call does not name. */
interface NextContent {
  type: TemplateType;
  content: Fields;
  file: StoredFile | null;
  isKept(now: TemplateVersion): boolean;
}

/** Writes the new name and the next version. Returns false, and writes nothing, if `isKept` says no. */
function writeChange(
  context: Context,
  caller: Caller,
  id: string,
  { name }: TemplateChanges,
  next: NextContent | null,
): Promise<boolean> {
  const { accountId } = caller;
  const now = context.clock.now();
  return context.database.write.run(async (tx) => {
    // Closes: two calls make the same version.
    await lockRows(tx, Template, [id]);
    const [present] = await readRows(tx.manager, TemplateVersion, currentSql, [id, accountId]);
    if (!present) throw new AppError('TEMPLATE_NOT_FOUND');
    if (next && !next.isKept(present)) return false;
    const version = present.version + (next ? 1 : 0);
    const renamed = name === undefined ? {} : { name, liveName: name };
    await updateRows(tx, Template, { id, accountId, deletedAt: IsNull() }, { ...renamed, version, updatedAt: now });
    if (next) {
      await updateRows(tx, TemplateVersion, { templateId: id, version: present.version }, { retiredAt: now });
      await insertVersion(context, tx, versionOf({ id, accountId, version }, next.type, next.content, next.file, now), next.file);
    }
    const fields = { ...(name === undefined ? {} : { name }), ...(next ? { version } : {}) };
    await audit(context, tx, caller, 'template.update', id, fields);
    return true;
  });
}

async function remove(context: Context, caller: Caller, id: string): Promise<void> {
  const { database, clock } = context;
  const { accountId } = caller;
  await database.write.run(async (tx) => {
    const now = clock.now();
    const deleted = { deletedAt: now, liveName: id };
    if ((await updateRows(tx, Template, { id, accountId, deletedAt: IsNull() }, deleted)) === 0)
      throw new AppError('TEMPLATE_NOT_FOUND');
    await updateRows(tx, TemplateVersion, { templateId: id, retiredAt: IsNull() }, { retiredAt: now });
    await audit(context, tx, caller, 'template.delete', id, {});
  });
}

function check({ checkFileOptions, countryCode }: Context, type: TemplateType, content: Fields): void {
  checkContent(type, content, countryCode);
  if (isMediaType(type)) checkFileOptions(type, content as FileFields);
}

/**
 * Stores the file of a content, and calls `write` with the content that is to be stored: it names the copy of the file by its id. A URL with
 * variables stays a URL. If `write` fails, no row names the file, and it is deleted.
 */
async function withFile<T>(
  context: Context,
  caller: Caller,
  { type, content }: Omit<TemplateInput, 'name'>,
  write: (content: Fields, file: StoredFile | null) => Promise<T>,
): Promise<T> {
  const file = isMediaType(type) ? await receiveFile(context, caller, type, content as FileFields) : null;
  try {
    return await conflicts(() => write(file ? withOwnFile(content, file) : content, file));
  } catch (error) {
    // If the reply to the commit was lost, the row may exist. Then the file stays, and the media sweep deletes it if no row names it.
    if (file && error instanceof AppError) await context.media.discard(file);
    throw error;
  }
}

async function receiveFile(
  { media }: Context,
  caller: Caller,
  type: MediaType,
  { mediaId, mediaUrl, mimetype, filename, asDocument }: FileFields,
): Promise<StoredFile | null> {
  if (mediaUrl !== undefined && hasVariables(mediaUrl)) return null;
  const owner = { ...caller, mayRead: allows(caller.permissions, 'messages.receive') };
  const hints = { mimetype, type: asDocument ? ('document' as const) : type, isSealed: false };
  const named = filename === undefined || hasVariables(filename) ? {} : { filename };
  return media.receive(owner, sourceOf({ mediaId, mediaUrl }, null), { ...hints, ...named });
}

function withOwnFile(content: Fields, { id, filename }: StoredFile): Fields {
  const rest = Object.entries(content).filter(([name]) => name !== 'mediaUrl' && name !== 'mimetype');
  return { ...(filename === null ? {} : { filename }), ...Object.fromEntries(rest), mediaId: id };
}

/** Runs a write. Throws `ALREADY_EXISTS` if the name is used by another template. */
async function conflicts<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    throw isConflict(error) ? new AppError('ALREADY_EXISTS', { field: 'name' }) : error;
  }
}

async function insertVersion(
  { media }: Context,
  tx: Transaction,
  version: TemplateVersion,
  file: StoredFile | null,
): Promise<void> {
  const { accountId, templateId } = version;
  if (file) await media.attach(tx, file, { accountId, messageId: null, templateId });
  await insertRow(tx, TemplateVersion, version);
}

const versionOf = (
  { id, accountId, version }: Pick<Template, 'id' | 'accountId' | 'version'>,
  type: TemplateType,
  content: Fields,
  file: StoredFile | null,
  createdAt: Date,
): TemplateVersion => ({
  templateId: id,
  version,
  accountId,
  type,
  content,
  mediaId: file?.id ?? null,
  createdAt,
  retiredAt: null,
});

async function fieldsOf(
  { limitsOf }: Context,
  { accountId, type, content }: Pick<TemplateVersion, 'accountId' | 'type' | 'content'>,
  variables: Variables,
): Promise<Fields> {
  const { language, timezone } = await limitsOf(accountId);
  return filledFields(type, content, variables, { language, timezone });
}

async function preview(
  context: Context,
  version: Pick<TemplateVersion, 'accountId' | 'type' | 'content'>,
  variables: Variables,
): Promise<Preview> {
  const { type } = version;
  const fields = await fieldsOf(context, version, variables);
  const content = isMediaType(type)
    ? fileSpecOf(type).toContent(previewFile(fields as FileFields), fields as FileFields)
    : contentOf(type, fields, context.countryCode);
  return { type, content: fields, text: textOf(content) };
}

/** A reference to the file of a preview, which is not read: only its name and type are known. */
const previewFile = ({ filename, mimetype = 'application/octet-stream' }: FileFields): MediaRef => ({
  id: null,
  mimetype,
  size: null,
  filename: filename ?? null,
  sha256: null,
});

function present(row: Template, version: TemplateVersion): MessageTemplateResource {
  const { id, name, createdAt, updatedAt } = row;
  const { type } = version;
  const content = readable(version.content, {});
  return {
    id,
    name,
    type,
    content,
    variables: variablesIn(content),
    version: version.version,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}

const audit = (
  { clock }: Context,
  tx: Transaction,
  caller: Caller,
  action: string,
  objectId: string,
  changes: Record<string, unknown>,
): Promise<void> => recordAudit(tx, caller, { action, objectType: 'template', objectId, changes, at: clock.now() });
