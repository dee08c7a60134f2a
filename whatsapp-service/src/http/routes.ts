import {
  AppError,
  internalOperations,
  isOperationId,
  newId,
  parseRecipient,
  reserveWhatsappId,
  sendDeadline,
  workerRoutes,
  type InternalOperationId,
  type SendCommand,
} from '@chasqui/shared';
import { handled, Reply, type createMount } from '@chasqui/shared/express';
import { stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import type { SendFile, Sender } from '../sends/sender.js';
import type { SendRecord } from '../sends/record.js';
import type { Registry } from '../sessions/registry.js';
import type { WorkerArchive } from '../sessions/worker-archive.js';
import type { Uploads } from './uploads.js';

export interface RouteDeps {
  mount: ReturnType<typeof createMount<null>>['mount'];
  uploads: Uploads;
  registry: Registry;
  sender: Sender;
  record: SendRecord;
  archive: WorkerArchive;
  worker: { workerId: string; bootId: string; version: string; capacity: number };
  browser: { path: string | null; profile: string };
  sendDeadlineMs: number;
  outletPending: () => number;
  diskFreeMb: () => number | null;
  /** Whether the outlet accepts writes, the disk has space and no recent problem degrades the worker. */
  isHealthy: () => boolean;
}

/** Mounts the routes of the worker. The contract is `workerRoutes`. */
export function mountRoutes(deps: RouteDeps): void {
  const { mount, registry, worker } = deps;

  mount(workerRoutes.health, async () => ({
    status: deps.isHealthy() ? ('ok' as const) : ('degraded' as const),
    ...worker,
    sessions: registry.all().filter((session) => session.isRunning()).length,
    draining: registry.isDraining(),
    proxies: true,
    memoryMb: registry.memoryMb(),
    browser: deps.browser,
    outlet: { pending: deps.outletPending() },
    disk: { freeMb: deps.diskFreeMb() },
    compat: Object.fromEntries(registry.all().map((session) => [session.id, session.observe().compat])),
  }));
  mount(workerRoutes.init, async ({ body }) => registry.init(body).observe());
  mount(workerRoutes.status, async ({ params }) => registry.get(params.id).observe());
  mount(workerRoutes.disconnect, async ({ body }) =>
    registry.stop(body.sessionId, { epoch: body.epoch, logout: body.logout ?? false }),
  );
  mount(workerRoutes.list, async () => registry.all().map((session) => session.observe()));
  mount(workerRoutes.archive, async (_input, _, { res }) => {
    if (registry.isDraining()) throw new AppError('SHUTTING_DOWN');
    res.status(200).set({ 'Content-Type': 'application/x-tar', 'Cache-Control': 'no-store' });
    // An error destroys both sides; a body that is not whole has no `logins.json`.
    await pipeline(deps.archive.open(), res).catch(() => undefined);
    return handled;
  });
  mountSends(deps);
  mountOperations(deps);
}

function mountSends({ mount, sender, uploads, registry, sendDeadlineMs }: RouteDeps): void {
  const send = async (sessionId: string, messageId: string, command: SendCommand, file: SendFile | null) => {
    const outcome = await sender.send(sessionId, messageId, command, file);
    return new Reply(outcome, { status: outcome.outcome === 'sending' ? 202 : 200 });
  };
  mount(workerRoutes.send, async ({ params, body }, _, { res }) => send(params.id, params.messageId, body, uploads.fileOf(res)));

  /** Sends for the two simple routes, which fill in missing fields. A caller that needs idempotency passes the message id. */
  const simple = async (
    body: {
      sessionId: string;
      recipient: string;
      messageId?: string | undefined;
      reservedId?: string | undefined;
      epoch?: number | undefined;
    },
    content: SendCommand['content'],
    file: SendFile | null,
  ) => {
    const messageId = body.messageId ?? newId();
    const recipient = parseRecipient(body.recipient);
    if (!recipient.ok) throw new AppError('INVALID_RECIPIENT', {}, recipient.message);
    const command: SendCommand = {
      epoch: body.epoch ?? registry.get(body.sessionId).epoch(),
      reservedId: body.reservedId ?? reserveWhatsappId(body.sessionId, messageId),
      recipient: recipient.address.id,
      content,
      options: { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], typingMs: 0, forward: null },
      deadlineMs: sendDeadline(sendDeadlineMs, file ? (await stat(file.path)).size : 0),
      isFirst: false,
      attempt: 1,
      account: null,
      acceptedAt: null,
    };
    return send(body.sessionId, messageId, command, file);
  };
  mount(workerRoutes.sendText, async ({ body }) => simple(body, { type: 'text', message: body.message }, null));
  mount(workerRoutes.sendMedia, async ({ body }, _, { res }) => {
    const { type, mimetype, filename = null, caption } = body;
    const file =
      uploads.fileOf(res) ??
      (body.mediaBase64 ? await uploads.keep(res, Buffer.from(body.mediaBase64, 'base64'), { mimetype, filename }) : null);
    const media = { id: null, mimetype, size: null, filename: filename ?? file?.filename ?? null, sha256: file?.sha256 ?? null };
    return simple(body, { type, media, ...(caption ? { caption } : {}) } as SendCommand['content'], file);
  });
}

function mountOperations({ mount, registry, record, uploads }: RouteDeps): void {
  mount(workerRoutes.operation, async ({ params, body }, _, { res }) => {
    const { id, operation } = params;
    if (!isOperationId(operation) && !isInternal(operation)) throw new AppError('OPERATION_NOT_FOUND', { operation });
    const session = registry.under(id, body.epoch) ?? registry.get(id);
    const { input, deadlineMs } = body;
    switch (operation) {
      case 'session.restart':
        await session.restart();
        return { output: session.observe() };
      case 'session.backfill':
        session.backfill(sinceOf(input));
        return { output: { started: true } };
      case 'session.lookup': {
        const { account, ...query } = lookupOf(input);
        session.requireAccount(account);
        const output = internalOperations['session.lookup'].output.parse(await session.run(operation, query, deadlineMs));
        // Closes: the session is linked to another account while the page looks.
        session.requireAccount(account);
        // With ack 0 the message may still be in the page's own queue; only an ack of WhatsApp's server proves that it was sent.
        if (output.found && output.ack >= 1)
          record.prove(id, query.reservedId, { whatsappId: output.whatsappId, ack: output.ack });
        return { output };
      }
      case 'messages.downloadMedia':
        return sendBytes(res, await session.downloadMedia(...downloadOf(input, deadlineMs)));
      default:
        return { output: await session.run(operation, input, deadlineMs, uploads.fileOf(res)) };
    }
  });
}

/** Refuses an invalid time, with which this scan and every later one would fail. */
function sinceOf(input: unknown): Date {
  const parsed = internalOperations['session.backfill'].input.safeParse(input);
  if (!parsed.success) throw new AppError('VALIDATION_FAILED', {}, 'Send since as an ISO time, or leave it out.');
  return new Date(parsed.data.since ?? 0);
}

function lookupOf(input: unknown) {
  const parsed = internalOperations['session.lookup'].input.safeParse(input);
  if (!parsed.success) throw new AppError('VALIDATION_FAILED', {}, 'Send reservedId and chatId.');
  return parsed.data;
}

function downloadOf(input: unknown, deadlineMs: number): [whatsappId: string, deadlineMs: number, maxBytes: number | undefined] {
  const parsed = internalOperations['messages.downloadMedia'].input.safeParse(input);
  if (!parsed.success)
    throw new AppError('VALIDATION_FAILED', {}, 'Send the whatsappId of a message, and maxBytes as a number or not at all.');
  return [parsed.data.whatsappId, deadlineMs, parsed.data.maxBytes];
}

const isInternal = (id: string): id is InternalOperationId => Object.hasOwn(internalOperations, id);

/** Sends a file as it comes from the page. A file that breaks off ends the connection, so that the caller does not count it as whole. */
async function sendBytes(
  res: Response,
  { bytes, size, mimetype }: { bytes: Readable; size: number; mimetype: string },
): Promise<typeof handled> {
  res.status(200).set({
    // Independent of the type that the sender declared: a browser must never display the bytes as a page of this server.
    'Content-Type': 'application/octet-stream',
    'Content-Length': String(size),
    'Content-Disposition': 'attachment',
    'X-Content-Type-Options': 'nosniff',
    'X-Media-Type': encodeHeader(mimetype),
  });
  // Both sides are destroyed by an error, and the backend asks again.
  await pipeline(bytes, res).catch(() => undefined);
  return handled;
}

/** The maximum length of a header value from a message; all headers of a reply together may have 16 KiB. */
const maxHeaderLength = 200;

/** Shortens and percent-encodes a sender's text for a header. Half of a surrogate pair, on which `encodeURIComponent` throws, becomes U+FFFD. */
function encodeHeader(text: string): string {
  return encodeURIComponent(Buffer.from(text.slice(0, maxHeaderLength), 'utf8').toString('utf8'));
}
