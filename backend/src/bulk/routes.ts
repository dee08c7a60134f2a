import {
  allows,
  AppError,
  deliveryWarnings,
  fileOptionFields,
  isMediaType,
  pageMeta,
  requestOf,
  validationError,
  warning,
  type BulkJobDetails,
  type MediaType,
  type Warning,
} from '@chasqui/shared';
import { handled, Reply, type RouteHttp } from '@chasqui/shared/express';
import { failPoint } from '@chasqui/shared/fail-point';
import type { Response } from 'express';
import type { Caller, Mount } from '../accounts/caller.js';
import type { Contacts } from '../contacts/contacts.js';
import { databaseRefusal } from '../db/database-errors.js';
import { csvRecord } from '../lib/csv.js';
import { uploadOf } from '../lib/uploads.js';
import { sourceOf, type Media, type StoredFile } from '../media/media.js';
import { checkFileOptions } from '../messages/accept/file-options.js';
import type { Idempotency, IdempotencyKey } from '../messages/accept/idempotency.js';
import type { Messages } from '../messages/messages.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import { hasVariables } from '../templates/render.js';
import type { Templates } from '../templates/templates.js';
import { readCsv } from './accept/csv.js';
import type { RecipientInput } from './accept/recipients.js';
import type { Bulk, NewJob } from './bulk.js';
import type { BulkJob, BulkRecipient, JobContent } from './bulk.entity.js';
import * as contract from './contract.js';
import { presentRecipient } from './present.js';

interface RouteContext {
  bulk: Bulk;
  sessions: Pick<Sessions, 'find' | 'resolve'>;
  messages: Pick<Messages, 'interactiveMode' | 'storageOf'>;
  contacts: Pick<Contacts, 'people'>;
  media: Pick<Media, 'receive' | 'discard'>;
  templates: Pick<Templates, 'current'>;
  idempotency: Idempotency;
}

/** Mounts the routes of bulk jobs. They must be mounted before those of messages: `/messages/:messageId` would match `/messages/bulk`. */
export function mountBulk(mount: Mount, context: RouteContext): void {
  const { bulk, sessions } = context;
  mount(contract.check, ({ body }, caller, http) => check(context, body, caller, http));
  mount(contract.create, ({ body }, caller, http) => create(context, body, caller, http));
  mount(contract.list, async ({ query }, caller) => {
    const sessionId = query.sessionId ? (await sessions.find(caller, query.sessionId)).id : undefined;
    const { jobs, total } = await bulk.list(caller, { ...query, sessionId });
    return new Reply(await bulk.present(jobs), { meta: pageMeta(query, total) });
  });
  mount(contract.read, async ({ params }, caller) => presentOne(bulk, await bulk.find(caller, params.bulkId)));
  mount(contract.recipients, async ({ params, query }, caller) => {
    const job = await bulk.find(caller, params.bulkId);
    const { rows, total } = await bulk.recipients(job, query);
    return new Reply(await presentAll(context, job, rows), { meta: pageMeta(query, total) });
  });
  mount(contract.exported, async ({ params }, caller, { res }) => {
    await writeCsv(context, await bulk.find(caller, params.bulkId), res);
    return handled;
  });
  for (const verb of ['pause', 'resume', 'cancel', 'retry'] as const)
    mount(contract[verb], async ({ params }, caller) =>
      presentOne(bulk, await bulk[verb](caller, await bulk.find(caller, params.bulkId))),
    );
}

const presentOne = async (bulk: Bulk, job: BulkJob): Promise<BulkJobDetails> => (await bulk.present([job]))[0]!;

async function presentAll({ contacts }: Pick<RouteContext, 'contacts'>, { sessionId }: BulkJob, rows: readonly BulkRecipient[]) {
  const people = await contacts.people(rows.map(({ address }) => ({ sessionId, waId: address })));
  return rows.map((row) => presentRecipient(row, people(sessionId, row.address)));
}

async function check(context: RouteContext, body: contract.JobBody, caller: Caller, { header, res }: RouteHttp) {
  const { bulk, sessions, media } = context;
  const session = await sessions.resolve(caller, body.sessionId ?? header('X-Session-Id'));
  const { input, columns } = await inputOf(context, body, caller, session, res);
  try {
    return { ...(await bulk.check(session, input)), columns };
  } finally {
    if (input.file) await media.discard(input.file);
  }
}

async function create(context: RouteContext, body: contract.JobBody, caller: Caller, http: RouteHttp) {
  const { idempotency, sessions } = context;
  const { req, res, header } = http;
  const named = body.sessionId ?? header('X-Session-Id');
  const session = await sessions.resolve(caller, named);
  const digest = uploadOf(res)?.bytes.sha256 ?? null;
  const isDefaultSession = (!named || named === 'current') && caller.sessionId === null;
  const scope = { accountId: caller.accountId, sessionId: session.id, isDefaultSession };
  const hashed = { body, file: digest };
  const key = idempotency.keyOf(scope, header('Idempotency-Key'), req.method, `${req.baseUrl}${req.path}`, hashed);
  const earlier = key ? await idempotency.begin(key) : null;
  if (earlier) {
    res.set('Idempotency-Replayed', 'true');
    if ('status' in earlier) return (void res.status(earlier.status).type('json').send(earlier.body), handled);
    return new Reply(await presentOne(context.bulk, await context.bulk.find(caller, earlier.messageId)), { status: 202 });
  }
  try {
    return await createFirst(context, body, { caller, session, key, res });
  } finally {
    if (key) idempotency.end(key);
  }
}

/** Creates the job of a request that is not a repeat, and stores the reply for its idempotency key. */
async function createFirst(
  context: RouteContext,
  body: contract.JobBody,
  { caller, session, key, res }: { caller: Caller; session: Session; key: IdempotencyKey | null; res: Response },
) {
  const { bulk, idempotency } = context;
  const { input } = await inputOf(context, body, caller, session, res);
  const job = await bulk.create(caller, session, input, key);
  const data = await presentOne(bulk, job);
  const warnings = warningsOf(job, input);
  if (key) {
    const reply = { success: true, data, ...(warnings.length > 0 ? { warnings } : {}), requestId: caller.requestId };
    // If the reply cannot be stored, a repeated request returns the job in its state at that time.
    await idempotency.store(key, 202, JSON.stringify(reply)).catch((error: unknown) => {
      if (!databaseRefusal(error)) throw error;
    });
  }
  failPoint('reply.stored');
  return new Reply(data, { status: 202, warnings });
}

const warningsOf = ({ skipped }: BulkJob, { content: { type, fields }, file }: NewJob): Warning[] => [
  ...(skipped > 0 ? [warning('RECIPIENTS_SKIPPED')] : []),
  ...deliveryWarnings(type, fields),
  ...(file?.warnings ?? []),
];

/** Reads the recipients from JSON or CSV, and the content. A file of the message is checked and stored. */
async function inputOf(
  context: RouteContext,
  body: contract.JobBody,
  caller: Caller,
  session: Session,
  res: Response,
): Promise<{ input: NewJob; columns: string[] | null }> {
  const { recipients, columns } = await recipientsOf(body, res);
  const { content, file } = await contentOf(context, body, caller, session);
  const { scheduledAt, gapMs = contract.defaultGapMs, checkNumbers = false } = body;
  const hasOwnName = !isMediaType(body.type) && body.type !== 'template' && 'name' in requestOf(body.type).fields;
  const name = body.jobName ?? (hasOwnName ? null : ((body as { name?: string }).name ?? null));
  return {
    input: {
      name,
      templateId: body.type === 'template' ? body.templateId : null,
      content,
      file,
      recipients,
      gapMs,
      checkNumbers,
      scheduledAt: scheduledAt === undefined ? null : new Date(scheduledAt),
    },
    columns,
  };
}

async function recipientsOf(
  body: contract.JobBody,
  res: Response,
): Promise<{ recipients: RecipientInput[]; columns: string[] | null }> {
  const upload = uploadOf(res);
  const sources = [body.recipients, body.csv, upload ?? undefined].filter((source) => source !== undefined);
  if (sources.length !== 1) {
    const message = 'Name the recipients once: as recipients, as csv, or as a part `file` that is a CSV file.';
    throw validationError([{ path: 'recipients', code: sources.length === 0 ? 'REQUIRED' : 'AMBIGUOUS', message }]);
  }
  if (body.recipients)
    return { recipients: body.recipients.map(({ recipient, variables = {} }) => ({ recipient, variables })), columns: null };
  const { rows, columns } = readCsv((await upload?.bytes.whole()) ?? body.csv ?? '', body.columns ?? {}, contract.maxRecipients);
  return { recipients: rows, columns };
}

/** The fields of a body that describe the job and not its message. */
const jobNames = new Set([
  'type',
  'sessionId',
  'jobName',
  'recipients',
  'csv',
  'columns',
  'scheduledAt',
  'gapMs',
  'checkNumbers',
]);

async function contentOf(
  context: RouteContext,
  body: contract.JobBody,
  caller: Caller,
  session: Session,
): Promise<{ content: JobContent; file: StoredFile | null }> {
  const { type } = body;
  if (type === 'template') return templateContent(context, body.templateId, caller, session);
  if (isMediaType(type)) return mediaContent(context, { ...body, type } as MediaJob, caller, session);
  const request = requestOf(type);
  if (request.isRenderedAsText && context.messages.interactiveMode(session) === 'reject')
    throw new AppError('INTERACTIVE_REJECTED');
  const fields = Object.entries(body).filter(([name]) => !jobNames.has(name) && (name !== 'name' || name in request.fields));
  return { content: { type, fields: Object.fromEntries(fields), media: null }, file: null };
}

/** The current version of a template. The job stores its fields, so later versions do not change it. */
async function templateContent(
  context: RouteContext,
  templateId: string,
  caller: Caller,
  session: Session,
): Promise<{ content: JobContent; file: StoredFile | null }> {
  const { type, content, mediaId } = await context.templates.current(caller.accountId, templateId);
  if (!isMediaType(type)) {
    if (requestOf(type).isRenderedAsText && context.messages.interactiveMode(session) === 'reject')
      throw new AppError('INTERACTIVE_REJECTED');
    return { content: { type, fields: content, media: null }, file: null };
  }
  const { mediaId: _, mediaUrl, ...options } = content as { mediaId?: string; mediaUrl?: string };
  if (mediaId === null && mediaUrl !== undefined && hasVariables(mediaUrl)) {
    const message = 'The URL of this template has variables, and a bulk job has one file. Use a template with one file.';
    throw validationError([{ path: 'templateId', code: 'NOT_FOR_BULK', message }]);
  }
  const source = mediaId === null ? { mediaUrl } : { mediaId };
  return mediaContent(context, { ...options, ...source, type } as MediaJob, caller, session);
}

type MediaJob = Extract<contract.JobBody, { mediaUrl?: unknown }> & { type: MediaType };

async function mediaContent(
  { messages, media }: RouteContext,
  body: MediaJob,
  caller: Caller,
  session: Session,
): Promise<{ content: JobContent; file: StoredFile }> {
  const { mimetype, filename, mediaUrl, mediaId } = body;
  checkFileOptions(body.type, body);
  const type = body.asDocument ? 'document' : body.type;
  const isSealed = (await messages.storageOf(session)) === 'metadata';
  const owner = {
    accountId: caller.accountId,
    sessionId: caller.sessionId,
    mayRead: allows(caller.permissions, 'messages.receive'),
  };
  const file = await media.receive(owner, sourceOf({ mediaUrl, mediaId }, null), { mimetype, filename, type, isSealed });
  const options = Object.keys(fileOptionFields).flatMap((name) => {
    const value = (body as Record<string, unknown>)[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const { id, size, sha256 } = file;
  const reference = { id, mimetype: file.mimetype, size, filename: file.filename, sha256 };
  return { content: { type, fields: Object.fromEntries(options), media: reference }, file };
}

const csvHead = 'row,recipient,phone,status,reason,messageId';

/** Writes the recipients of a job as CSV, page by page, so that a long list needs little memory. */
async function writeCsv(context: RouteContext, job: BulkJob, res: Response): Promise<void> {
  res.status(200).type('text/csv; charset=utf-8');
  res.set('Content-Disposition', `attachment; filename="bulk-${job.id}.csv"`);
  // The byte order mark makes spreadsheets read the file as UTF-8.
  res.write(`\ufeff${csvHead}\r\n`);
  for await (const rows of context.bulk.pages(job)) {
    if (res.destroyed) return;
    const lines = (await presentAll(context, job, rows)).map(({ row, recipient, contact, status, reason, messageId }) =>
      csvRecord([row, recipient, contact?.phone, status, reason?.code, messageId]),
    );
    if (!res.write(`${lines.join('\r\n')}\r\n`)) await drained(res);
  }
  res.end();
}

/** Resolves when the response can accept more data, or is closed. */
const drained = (res: Response): Promise<void> =>
  new Promise((resolve) => {
    res.once('drain', resolve);
    res.once('close', resolve);
  });
