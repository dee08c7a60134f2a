import { stat } from 'node:fs/promises';
import { AppError, newId, parseRecipient } from '@chasqui/shared';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import { isDatabaseDown } from '../db/database-errors.js';
import type { Presence } from '../db/presence.js';
import { among, insertRow, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { NewEvent } from '../events/events.js';
import { describeError } from '../failures/failures.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import { errorFields } from '../lib/log.js';
import type { Media } from '../media/media.js';
import type { Thumbnails } from '../media/thumbnails.js';
import type { Messages } from '../messages/messages.js';
import type { ContentStore } from '../messages/sealed-content.js';
import type { OptOuts } from '../opt-outs/opt-outs.js';
import type { Schedules } from '../messages/recurring/schedules.js';
import type { MessageSearch } from '../search/search.js';
import { eraseContact, type ErasableFilters, type ErasableJobs, type ErasableReplies } from './erasure.js';
import { archivePath, deleteExport, exportContact, exportsIn, type ExportableJobs } from './export.js';
import { addressOf, createPages, type Pages } from './pages.js';
import { PrivacyRequest } from './privacy-request.entity.js';

/**
 * Exports or erases everything that is stored about one contact of an account. A row of `privacy_requests` is the job.
 *
 * Both read the account's messages and events page by page, so that nothing else waits for them, and both may be repeated: an export is written
 * to a draft and renamed, an erasure finds only what is still stored. A job whose process was killed is repeated.
 *
 * An erasure does not reach WhatsApp itself, the session's browser profile, and the last few thousand events in a worker's journal, which newer
 * ones displace.
 */
export interface Privacy {
  /** Throws `INVALID_RECIPIENT` for what is not a person. */
  askForExport(caller: Caller, contact: string): Promise<PrivacyRequest>;
  /** Throws `INVALID_RECIPIENT`, and `CONFIRMATION_REQUIRED` when `confirm` does not repeat the contact. */
  askForErasure(caller: Caller, contact: string, confirm: string): Promise<PrivacyRequest>;
  /** Throws `EXPORT_NOT_FOUND` and `ERASURE_NOT_FOUND`. */
  find(accountId: string, kind: PrivacyRequest['kind'], id: string): Promise<PrivacyRequest>;
  /** Returns the path of an export's archive. Throws `EXPORT_NOT_FOUND`, `EXPORT_NOT_READY`, `MEDIA_EXPIRED`. */
  archive(accountId: string, id: string): Promise<string>;
  /** Deletes archives that expired, and those that belong to no request. */
  prune(): Promise<void>;
  start(): void;
  /** Waits for the running request, which ends at its next step and is repeated by the next start. */
  stop(): Promise<void>;
}

export interface PrivacyParts {
  contacts: Contacts;
  optOuts: Pick<OptOuts, 'erase' | 'stored'>;
  search: Pick<MessageSearch, 'settle'>;
  messages: Messages;
  contents: ContentStore;
  media: Media;
  thumbnails: Thumbnails;
  replies: ErasableReplies;
  schedules: Schedules;
  webhooks: ErasableFilters;
  bulk: ErasableJobs & ExportableJobs;
  presence: Presence;
  /** The folder of the archives. */
  dir: string;
  /** The installation's, for numbers that begin with 0: a request concerns all sessions of the account. */
  countryCode: string | undefined;
}

interface Context extends Core, PrivacyParts {
  pages: Pages;
  state: State;
}

interface State {
  isStopped: boolean;
  /** When to try requests again that the database did not let finish, by id. In milliseconds of `performance.now()`. */
  retries: Map<string, Retry>;
  /** The round that works on open requests. */
  running: Promise<void> | null;
  timer: NodeJS.Timeout | undefined;
}

interface Retry {
  at: number;
  waitMs: number;
}

const retentionMs = 7 * 86_400_000;
const pollMs = 5_000;
const longestRetryMs = 5 * 60_000;
/** A request that the database has not let finish for this long ends as failed. */
const giveUpMs = 86_400_000;
/** The update repeats the values that were read, so that one of two backends claims the request. */
const claimSql = `UPDATE privacy_requests SET status = 'running', owner = ?, "startedAt" = ? WHERE id = ? AND status = ? AND COALESCE(owner, '') = ?`;
const openSql = `status IN ('queued', 'running') ORDER BY "createdAt" LIMIT 100`;

export function createPrivacy(core: Core, parts: PrivacyParts): Privacy {
  const state: State = { isStopped: false, retries: new Map(), running: null, timer: undefined };
  const context: Context = { ...core, ...parts, pages: createPages(core.database, parts.contacts), state };
  return {
    askForExport: (caller, contact) => createRequest(context, caller, 'export', contact),
    async askForErasure(caller, contact, confirm) {
      if (confirm !== contact) throw new AppError('CONFIRMATION_REQUIRED', { field: 'confirm' });
      return createRequest(context, caller, 'erasure', contact);
    },
    find: (accountId, kind, id) => find(core, accountId, kind, id),
    archive: (accountId, id) => findArchive(context, accountId, id),
    prune: () => prune(context),
    start() {
      wake(context);
      state.timer = setInterval(() => wake(context), pollMs);
      state.timer.unref();
    },
    async stop() {
      state.isStopped = true;
      clearInterval(state.timer);
      await state.running;
    },
  };
}

async function createRequest(
  context: Context,
  caller: Caller,
  kind: PrivacyRequest['kind'],
  contact: string,
): Promise<PrivacyRequest> {
  const address = addressOf(contact, context.countryCode);
  const now = context.clock.now();
  const request: PrivacyRequest = {
    id: newId(now.getTime()),
    accountId: caller.accountId,
    kind,
    status: 'queued',
    owner: null,
    // A national number is stored with its country: the setting may change before the request is worked on.
    contact: parseRecipient(contact).ok ? contact : address,
    forms: null,
    counts: {},
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    expiresAt: null,
  };
  await context.database.write.run(async (tx) => {
    await insertRow(tx, PrivacyRequest, request);
    // The record names the request, not the contact.
    const action = kind === 'export' ? 'contact.export' : 'contact.erase';
    await recordAudit(tx, caller, { action, objectType: 'contact', objectId: request.id, at: now });
  });
  wake(context);
  return request;
}

async function find(
  { database }: Pick<Core, 'database'>,
  accountId: string,
  kind: PrivacyRequest['kind'],
  id: string,
): Promise<PrivacyRequest> {
  const request = await database.reader.getRepository(PrivacyRequest).findOneBy({ id, accountId, kind });
  if (!request) throw new AppError(kind === 'export' ? 'EXPORT_NOT_FOUND' : 'ERASURE_NOT_FOUND');
  return request;
}

async function findArchive(context: Context, accountId: string, id: string): Promise<string> {
  const { status, expiresAt } = await find(context, accountId, 'export', id);
  if (status === 'queued' || status === 'running') throw new AppError('EXPORT_NOT_READY', { status });
  const path = archivePath(context.dir, id);
  const exists = status === 'done' && (await stat(path).catch(() => null));
  if (!exists || !expiresAt || expiresAt <= context.clock.now()) throw new AppError('MEDIA_EXPIRED');
  return path;
}

/** Exports whose files stay: those on which a backend works or will work, and finished ones until they expire. */
const keptSql = `SELECT id FROM privacy_requests
  WHERE kind = 'export' AND (status IN ('queued', 'running') OR (status = 'done' AND "expiresAt" > ?)) AND`;

/** Also deletes what no request names: after the restore of a backup, the archives of later requests may still be in the folder. */
async function prune({ database, clock, dir }: Context): Promise<void> {
  const ids = await exportsIn(dir);
  const { condition, parameter } = among(database.reader, 'id', ids);
  const { rows } = await runStatement<{ id: string }>(database.reader, `${keptSql} ${condition}`, [clock.now(), parameter]);
  const kept = new Set(rows.map(({ id }) => id));
  const failures: unknown[] = [];
  for (const id of ids) if (!kept.has(id)) await deleteExport(dir, id).catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** Begins a round, unless one is running. */
function wake(context: Context): void {
  const { state, log } = context;
  if (state.isStopped || state.running) return;
  state.running = runRound(context)
    .catch((error: unknown) => log.error('Open exports and erasures could not be read; it is retried.', errorFields(error)))
    .finally(() => (state.running = null));
}

/**
 * Works on the open requests, those of one account one after the other, also where several backends work: an export that goes on while its person is
 * erased would write what was erased into an archive.
 */
async function runRound(context: Context): Promise<void> {
  const { database, presence, state } = context;
  const open = await readRows(database.reader, PrivacyRequest, openSql, []);
  // The requests of a backend that died are free; this backend is working on none now.
  const gone = await presence.gone(open.flatMap(({ owner }) => owner ?? []));
  /** Accounts with an earlier request on which another backend works. */
  const busy = new Set<string>();
  for (const request of open) {
    const isFree = request.owner === null || request.owner === presence.owner || gone.includes(request.owner);
    if (!isFree) busy.add(request.accountId);
    if ((state.retries.get(request.id)?.at ?? 0) > performance.now()) busy.add(request.accountId);
    if (busy.has(request.accountId) || state.isStopped) continue;
    try {
      if (!(await runRequest(context, request))) busy.add(request.accountId);
    } catch (error) {
      // It was neither claimed nor settled: the requests behind it run, and the next round retries it.
      reportFailed(context, request, error);
    }
  }
}

/**
 * Returns false if the account's later requests must wait: another backend has claimed this one, or the database did not let it finish. It stays
 * claimed then, and this backend or the one after it retries it.
 */
async function runRequest(context: Context, request: PrivacyRequest): Promise<boolean> {
  const { database, presence, clock, state } = context;
  const claim = [presence.owner, clock.now(), request.id, request.status, request.owner ?? ''];
  const { affected } = await database.write.run((tx) => runStatement(tx.manager, claimSql, claim));
  if (affected === 0) return false;
  try {
    if (request.kind === 'export') await runExport(context, request);
    else await runErasure(context, request);
  } catch (error) {
    reportFailed(context, request, error);
    if (state.isStopped) return true;
    if (isDatabaseDown(error) && retryLater(context, request)) return false;
    await settle(context, request, { status: 'failed' }, null);
    // A failed export is not repeated, so that nothing else would delete what it has written.
    if (request.kind === 'export') await deleteExport(context.dir, request.id);
  }
  state.retries.delete(request.id);
  return true;
}

/** Returns false if the request was retried for too long. */
function retryLater({ clock, state }: Context, { id, createdAt }: PrivacyRequest): boolean {
  if (clock.now().getTime() - createdAt.getTime() > giveUpMs) return false;
  const waitMs = Math.min(2 * (state.retries.get(id)?.waitMs ?? pollMs / 2), longestRetryMs);
  state.retries.set(id, { at: performance.now() + waitMs, waitMs });
  return true;
}

async function runExport(context: Context, request: PrivacyRequest): Promise<void> {
  const { id, accountId } = request;
  const counts = await exportContact(context, request);
  const expiresAt = new Date(context.clock.now().getTime() + retentionMs);
  await settle(
    context,
    request,
    { status: 'done', counts, expiresAt },
    { accountId, sessionId: null, type: 'export.ready', data: { exportId: id, expiresAt: expiresAt.toISOString() } },
  );
}

async function runErasure(context: Context, request: PrivacyRequest): Promise<void> {
  const { database, search, state } = context;
  const { accountId, contact } = request;
  // Null: an earlier run has erased everything, and its process died before it said so.
  if (contact !== null) {
    request.counts = await eraseContact({ ...context, isStopped: () => state.isStopped }, request);
    await forgetRequests(context, request);
  }
  await search.settle();
  await database.checkpoint();
  await settle(
    context,
    request,
    { status: 'done' },
    { accountId, sessionId: null, type: 'contact.erased', data: { contact: contact ?? '' } },
  );
}

/** Stores the outcome of a request and publishes it, in one transaction. */
function settle(
  { database, events, clock }: Context,
  { id }: PrivacyRequest,
  changes: Partial<PrivacyRequest>,
  event: NewEvent | null,
): Promise<void> {
  return database.write.run(async (tx) => {
    await updateRows(tx, PrivacyRequest, { id }, { ...changes, finishedAt: clock.now() });
    if (event) await events.append(tx, event);
  });
}

/**
 * Deletes earlier exports of the same person, and removes the person from requests. One that waits keeps the person: it was made meanwhile, and is
 * carried out after this one. Stores the counts of this request, which cannot be counted again.
 */
async function forgetRequests(
  { database, dir }: Context,
  { id: own, accountId, contact, counts }: PrivacyRequest,
): Promise<void> {
  const rows = database.reader.getRepository(PrivacyRequest);
  const { forms } = await rows.findOneByOrFail({ id: own });
  const theirs = new Set([addressOf(contact ?? ''), ...(forms ?? [])]);
  const isOver = ({ id, status }: PrivacyRequest): boolean => id === own || status === 'done' || status === 'failed';
  const isSame = (one: PrivacyRequest): boolean => one.contact !== null && theirs.has(addressOf(one.contact));
  const same = (await rows.findBy({ accountId })).filter((one) => isOver(one) && isSame(one));
  for (const { id, kind } of same) if (kind === 'export') await deleteExport(dir, id);
  const ids = same.map(({ id }) => id);
  const { condition, parameter } = among(database.reader, 'id', ids);
  const sql = `UPDATE privacy_requests SET contact = NULL, forms = NULL, "expiresAt" = NULL WHERE ${condition}`;
  await database.write.run(async (tx) => {
    await runStatement(tx.manager, sql, [parameter]);
    await updateRows(tx, PrivacyRequest, { id: own }, { counts });
  });
}

function reportFailed({ log, report, state }: Context, { id, accountId, kind }: PrivacyRequest, error: unknown): void {
  log.error('An export or erasure of a contact failed.', { requestId: id, kind, ...errorFields(error) });
  if (!state.isStopped) report({ kind: 'privacy', subject: id, accountId, ...describeError(error) });
}
