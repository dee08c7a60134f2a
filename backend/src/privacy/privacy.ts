import { rm, stat } from 'node:fs/promises';
import { AppError, newId, parseRecipient } from '@chasqui/shared';
import type { Contacts } from '../contacts/contacts.js';
import type { Database } from '../db/database.js';
import type { Presence } from '../db/presence.js';
import { among, insertRow, readRows, updateRows } from '../db/rows.js';
import { runStatement } from '../db/statement.js';
import type { Transaction } from '../db/unit-of-work.js';
import { describeError, type ReportFailure } from '../failures/failures.js';
import type { Events } from '../events/events.js';
import type { Caller } from '../accounts/caller.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { errorFields, type Log } from '../lib/log.js';
import type { Media } from '../media/media.js';
import type { Messages } from '../messages/messages.js';
import type { MessageSearch } from '../search/search.js';
import { createEraser, type ErasableFilters, type ErasableReplies } from './erasure.js';
import { createExporter } from './export.js';
import { addressOf, createPages } from './pages.js';
import { PrivacyRequest } from './privacy-request.entity.js';

const retentionMs = 7 * 86_400_000;
const pollMs = 5_000;
/** The condition of the update is what was read: of two backends one gets it. */
const claimSql = `UPDATE privacy_requests SET status = 'running', owner = ?, "startedAt" = ? WHERE id = ? AND status = ? AND COALESCE(owner, '') = ?`;
const openSql = `status IN ('queued', 'running') ORDER BY "createdAt" LIMIT 100`;

export type Privacy = ReturnType<typeof createPrivacy>;

/**
 * Hands out, or removes, all that is held about one contact of an account. Both go through the account's messages and events page by page,
 * so that nothing else waits for them, and both may be begun again: an export is written aside and renamed, an erasure finds only what is
 * still there. A row in `privacy_requests` is the job; killed during it, it is begun again.
 *
 * Beyond the reach of an erasure: WhatsApp itself, the session's browser profile, and the
 * last few thousand events in a worker's journal, which newer ones push out.
 */
export function createPrivacy({
  database,
  events,
  contacts,
  search,
  messages,
  media,
  replies,
  webhooks,
  clock,
  log,
  presence,
  dir,
  countryCode,
  report,
}: {
  database: Database;
  events: Events;
  contacts: Contacts;
  search: Pick<MessageSearch, 'settle'>;
  messages: Messages;
  media: Media;
  replies: ErasableReplies;
  webhooks: ErasableFilters;
  clock: Clock;
  log: Log;
  presence: Presence;
  /** Of the archives. */
  dir: string;
  /** The installation's, for numbers that begin with 0: a request concerns all sessions of the account. */
  countryCode: string | undefined;
  report: ReportFailure;
}) {
  const rows = database.reader.getRepository(PrivacyRequest);
  const pages = createPages(database, contacts);
  const exporter = createExporter({ database, pages, contacts, messages, media, dir, report });
  const eraser = createEraser({
    database,
    pages,
    contacts,
    messages,
    media,
    replies,
    webhooks,
    isStopped: () => stopped,
    report,
  });
  const { pathOf } = exporter;
  let stopped = false;
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;

  /** Earlier exports of the same person, and whom the requests named. */
  async function forgetRequests({ id: own, accountId, contact }: PrivacyRequest): Promise<void> {
    const { forms } = await rows.findOneByOrFail({ id: own });
    const theirs = new Set([addressOf(contact ?? ''), ...(forms ?? [])]);
    const same = (await rows.findBy({ accountId })).filter((one) => one.contact !== null && theirs.has(addressOf(one.contact)));
    for (const { id, kind } of same) if (kind === 'export') await rm(pathOf(id), { force: true });
    const them = among(
      database.reader,
      'id',
      same.map(({ id }) => id),
    );
    await database.write.run((tx) =>
      runStatement(
        tx.manager,
        `UPDATE privacy_requests SET contact = NULL, forms = NULL, "expiresAt" = NULL WHERE ${them.condition}`,
        [them.parameter],
      ),
    );
  }

  function failed({ id, accountId, kind }: PrivacyRequest, error: unknown): void {
    log.error('An export or erasure of a contact failed.', { requestId: id, kind, ...errorFields(error) });
    if (!stopped) report({ kind: 'privacy', subject: id, accountId, ...describeError(error) });
  }

  async function work(request: PrivacyRequest): Promise<void> {
    const claim = [presence.owner, clock.now().getTime(), request.id, request.status, request.owner ?? ''];
    const { affected } = await database.write.run((tx) => runStatement(tx.manager, claimSql, claim));
    if (affected === 0) return;
    const { id, accountId, contact, kind } = request;
    const settle = (changes: Partial<PrivacyRequest>, tell: (tx: Transaction) => Promise<unknown>): Promise<void> =>
      database.write.run(async (tx) => {
        await updateRows(tx, PrivacyRequest, { id }, { ...changes, finishedAt: clock.now() });
        await tell(tx);
      });
    try {
      if (kind === 'export') {
        const counts = await exporter.exportAll(request);
        const expiresAt = new Date(clock.now().getTime() + retentionMs);
        await settle({ status: 'done', counts, expiresAt }, (tx) =>
          events.append(tx, {
            accountId,
            sessionId: null,
            type: 'export.ready',
            data: { exportId: id, expiresAt: expiresAt.toISOString() },
          }),
        );
      } else {
        const counts = await eraser.eraseAll(request);
        await forgetRequests(request);
        await search.settle();
        await database.checkpoint();
        await settle({ status: 'done', counts }, (tx) =>
          events.append(tx, { accountId, sessionId: null, type: 'contact.erased', data: { contact: contact ?? '' } }),
        );
      }
    } catch (error) {
      failed(request, error);
      if (!stopped) await settle({ status: 'failed' }, async () => undefined);
    }
  }

  async function round(): Promise<void> {
    const open = await readRows(database.reader, PrivacyRequest, openSql, []);
    // Who died during one will not end it; nothing of our own is running now.
    const gone = await presence.gone(open.flatMap(({ owner }) => owner ?? []));
    for (const request of open) {
      const isFree = request.owner === null || request.owner === presence.owner || gone.includes(request.owner);
      if (!isFree || stopped) continue;
      try {
        await work(request);
      } catch (error) {
        // It was neither claimed nor settled: those behind it are worked on, and the next round tries it again.
        failed(request, error);
      }
    }
  }

  function wake(): void {
    if (stopped || running) return;
    running = round()
      .catch((error: unknown) =>
        log.error('Exports and erasures could not be looked through; it is tried again.', errorFields(error)),
      )
      .finally(() => (running = null));
  }

  async function ask(caller: Caller, kind: PrivacyRequest['kind'], contact: string): Promise<PrivacyRequest> {
    const address = addressOf(contact, countryCode);
    const now = clock.now();
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
    await database.write.run(async (tx) => {
      await insertRow(tx, PrivacyRequest, request);
      // That it was asked for, not about whom.
      const action = kind === 'export' ? 'contact.export' : 'contact.erase';
      await recordAudit(tx, caller, { action, objectType: 'contact', objectId: request.id, at: now });
    });
    wake();
    return request;
  }

  async function find(accountId: string, kind: PrivacyRequest['kind'], id: string): Promise<PrivacyRequest> {
    const request = await rows.findOneBy({ id, accountId, kind });
    if (!request) throw new AppError(kind === 'export' ? 'EXPORT_NOT_FOUND' : 'ERASURE_NOT_FOUND');
    return request;
  }

  return {
    /** Throws `INVALID_RECIPIENT` for what is no person. */
    askForExport: (caller: Caller, contact: string): Promise<PrivacyRequest> => ask(caller, 'export', contact),
    /** Throws `CONFIRMATION_REQUIRED` when `confirm` is not the contact once more. */
    async askForErasure(caller: Caller, contact: string, confirm: string): Promise<PrivacyRequest> {
      if (confirm !== contact) throw new AppError('CONFIRMATION_REQUIRED', { field: 'confirm' });
      return ask(caller, 'erasure', contact);
    },
    find,
    /** Where an export's archive lies. Throws `EXPORT_NOT_READY`, `MEDIA_EXPIRED`. */
    async archive(accountId: string, id: string): Promise<string> {
      const request = await find(accountId, 'export', id);
      if (request.status === 'queued' || request.status === 'running')
        throw new AppError('EXPORT_NOT_READY', { status: request.status });
      const isThere = request.status === 'done' && (await stat(pathOf(id)).catch(() => null));
      if (!isThere || !request.expiresAt || request.expiresAt <= clock.now()) throw new AppError('MEDIA_EXPIRED');
      return pathOf(id);
    },
    /** Deletes archives whose time is over. */
    async prune(): Promise<void> {
      const sql = `SELECT id FROM privacy_requests WHERE kind = 'export' AND "expiresAt" <= ?`;
      const over = (await runStatement(database.reader, sql, [clock.now().getTime()])).rows as { id: string }[];
      const failures: unknown[] = [];
      for (const { id } of over) await rm(pathOf(id), { force: true }).catch((error: unknown) => failures.push(error));
      if (failures.length > 0) throw failures[0];
    },
    start(): void {
      wake();
      timer = setInterval(wake, pollMs);
      timer.unref();
    },
    async stop(): Promise<void> {
      stopped = true;
      clearInterval(timer);
      await running;
    },
  };
}
