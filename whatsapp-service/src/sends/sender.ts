import { createHash } from 'node:crypto';
import {
  AppError,
  internalOperations,
  isMediaType,
  mediaOf,
  messageReasons,
  retryableReasons,
  type MessageReason,
  type SendCommand,
  type SendOutcome,
} from '@chasqui/shared';
import { failPoint } from '@chasqui/shared/fail-point';
import { errorFields, type Log } from '../log.js';
import type { Session } from '../sessions/session.js';
import type { FinalOutcome, SendEntry, SendRecord } from './record.js';

/** A file on disk that exists until the call has ended. */
export interface SendFile {
  path: string;
  mimetype: string;
  filename: string | null;
  sha256: string;
}

export interface Sender {
  /**
   * Sends a message once per message id and attempt. Answers from the record, without the page, if the outcome is known.
   * Throws `AppError` SESSION_NOT_FOUND, SESSION_NOT_CONNECTED, SESSION_IDENTITY_CHANGED, STALE_EPOCH, IDEMPOTENCY_KEY_REUSED,
   * SHUTTING_DOWN; then the record is unchanged.
   */
  send(sessionId: string, messageId: string, command: SendCommand, file: SendFile | null): Promise<SendOutcome>;
}

export interface SenderDeps {
  record: SendRecord;
  /** Refuses a stale epoch; null when this worker does not know the session. */
  sessionFor: (sessionId: string, epoch: number) => Session | null;
  draining: () => boolean;
  log: Log;
  /** Called when a send has ended that was not answered from the record. */
  onEnded?: (outcome: FinalOutcome['outcome'], ms: number) => void;
}

interface Context extends SenderDeps {
  /** The hash of each running send by message id. Filled before the first await, so only one of two concurrent calls continues. */
  readonly running: Map<string, string>;
}

/** Identifies a send. Sends with equal hashes have the same effect for the recipient. */
interface SendId {
  messageId: string;
  sessionId: string;
  hash: string;
}

const lookupDeadlineMs = 20_000;

export function createSender(deps: SenderDeps): Sender {
  const context: Context = { ...deps, running: new Map() };
  return { send: (sessionId, messageId, command, file) => send(context, sessionId, messageId, command, file) };
}

async function send(
  context: Context,
  sessionId: string,
  messageId: string,
  command: SendCommand,
  file: SendFile | null,
): Promise<SendOutcome> {
  const { record, running } = context;
  const session = context.sessionFor(sessionId, command.epoch);
  requireFile(command, file);
  const hash = hashOf(sessionId, command, file);
  const entry = record.find(messageId);
  const known = running.get(messageId) ?? entry?.hash;
  if (known !== undefined && known !== hash) throw new AppError('IDEMPOTENCY_KEY_REUSED', { messageId });
  if (running.has(messageId)) return { outcome: 'sending' };
  if (entry?.outcome && !reopens(entry, command.attempt)) return entry.outcome;

  if (context.draining()) throw new AppError('SHUTTING_DOWN');
  if (!session) throw new AppError('SESSION_NOT_FOUND', { sessionId });
  running.set(messageId, hash);
  try {
    const settled = entry && (await afterCrash(context, session, entry, command));
    const isFirst = command.isFirst && entry === null;
    return settled ?? (await attempt(context, session, { messageId, sessionId, hash }, { ...command, isFirst }, file));
  } finally {
    running.delete(messageId);
  }
}

/**
 * Handles a record that says `handed_over` while no send runs: a worker died during that send. Null: the message is sent, under the same id.
 *
 * | the lookup under the reserved id says | the same attempt | a new attempt, decided by the backend |
 * | --- | --- | --- |
 * | acknowledged by the server | `sent` | `sent` |
 * | refused by the server | `failed` | sent again |
 * | provably absent | sent again | sent again |
 * | not acknowledged yet, not found, or no answer | `uncertain` | sent again |
 */
async function afterCrash(
  { record, log }: Context,
  session: Session,
  entry: SendEntry,
  command: SendCommand,
): Promise<FinalOutcome | null> {
  if (entry.state !== 'handed_over') return null;
  const found = await lookUp(log, session, entry.reservedId, command);
  const isProof = found !== null && found !== 'absent' && found.ack >= 1;
  if (found === 'absent' || (command.attempt > entry.attempt && !isProof)) return null;
  const outcome: FinalOutcome = isProof
    ? { outcome: 'sent', ...found, at: new Date().toISOString() }
    : found && found.ack < 0
      ? failed('WHATSAPP_REFUSED')
      : uncertain('CRASHED_DURING_SEND');
  record.settle(entry.messageId, outcome);
  return outcome;
}

/** Looks the message up under its reserved id. Null: there was no answer, or it was not found and its absence is not proven. */
async function lookUp(
  log: Log,
  session: Session,
  reservedId: string,
  { recipient: chatId, account, acceptedAt: since }: SendCommand,
): Promise<{ whatsappId: string; ack: number } | 'absent' | null> {
  try {
    const answer = await session.run('session.lookup', { reservedId, chatId, since }, lookupDeadlineMs);
    session.requireAccount(account);
    const result = internalOperations['session.lookup'].output.parse(answer);
    if (result.found) return { whatsappId: result.whatsappId, ack: result.ack };
    return result.proven ? 'absent' : null;
  } catch (error) {
    if (error instanceof AppError && error.code === 'SESSION_IDENTITY_CHANGED') throw error;
    log.warn('A message could not be looked up.', { sessionId: session.id, ...errorFields(error) });
    return null;
  }
}

/** Sends the message. The record is written when the lane starts the job, so a send that is refused or killed while it waits leaves no trace. */
async function attempt(
  { record, draining, log, onEnded }: Context,
  session: Session,
  id: SendId,
  command: SendCommand,
  file: SendFile | null,
): Promise<SendOutcome> {
  const began = performance.now();
  const { messageId } = id;
  const { reservedId, recipient, content, options, deadlineMs, isFirst, attempt: number, account } = command;
  const message = { reservedId, recipient, content, file, ...options, deadlineMs, isFirst };
  const outcome = await session
    .send(message, {
      onTurn() {
        if (draining()) throw new AppError('SHUTTING_DOWN');
        session.requireAccount(account);
        record.accept({ ...id, reservedId, attempt: number });
        failPoint('send.accepted');
      },
      async onHandover() {
        // The last check before the message can be sent: if this worker was frozen, another one may run the session now.
        if (!session.lease.isValid()) throw new AppError('STALE_EPOCH', { reason: 'The lease expired.' });
        failPoint('send.identity');
        session.requireAccount(account);
        record.handOver(messageId);
        failPoint('send.handed-over');
        return session.lease.endsAt();
      },
    })
    .catch((error: unknown) => {
      if (error instanceof AppError) throw error;
      // The engine should not reject. If it does, the record says whether the message was handed over.
      log.error('A send ended with an unexpected error.', { sessionId: session.id, messageId, ...errorFields(error) });
      return record.find(messageId)?.state === 'handed_over' ? uncertain('CRASHED_DURING_SEND') : failed('CONNECTION_LOST');
    });
  failPoint('send.answered');
  record.settle(messageId, outcome);
  failPoint('send.settled');
  onEnded?.(outcome.outcome, performance.now() - began);
  log.info('A send has ended.', {
    sessionId: session.id,
    messageId,
    outcome: outcome.outcome,
    reason: 'reason' in outcome ? outcome.reason : null,
  });
  return record.find(messageId)?.outcome ?? outcome;
}

/** Whether the message may be sent again. A message that is proven sent never is; any other one is with a new attempt. */
function reopens({ outcome, attempt: recorded }: SendEntry, attempt: number): boolean {
  switch (outcome?.outcome) {
    case 'failed':
      return outcome.retryable || attempt > recorded;
    case 'uncertain':
      return attempt > recorded;
    case 'sent':
      return false;
    case undefined:
      return true;
  }
}

export const uncertain = (reason: MessageReason): FinalOutcome => ({
  outcome: 'uncertain',
  reason,
  message: messageReasons[reason],
});
const failed = (reason: MessageReason): FinalOutcome => ({
  outcome: 'failed',
  reason,
  message: messageReasons[reason],
  retryable: retryableReasons.has(reason),
});

function requireFile(command: SendCommand, file: SendFile | null): void {
  if (isMediaType(command.content.type) && !file) {
    const message = `A ${command.content.type} needs its bytes. Send multipart with the parts command and file.`;
    throw new AppError('VALIDATION_FAILED', { fields: [{ path: 'file', code: 'REQUIRED', message }] }, message);
  }
}

/** Hashes what the recipient would see: equal commands have equal hashes. A file counts by its bytes, because its signed URL may change. */
export function hashOf(sessionId: string, command: SendCommand, file: SendFile | null): string {
  const media = mediaOf(command.content);
  const content = media ? { ...command.content, media: { mimetype: media.mimetype, filename: media.filename } } : command.content;
  const { quotedMessageId, ignoreQuoteErrors, mentions, forward, groupMentions } = command.options;
  const visible = {
    sessionId,
    reservedId: command.reservedId,
    recipient: command.recipient,
    content,
    quotedMessageId,
    ignoreQuoteErrors,
    mentions,
    file: file?.sha256 ?? null,
    // Left out when false, so that commands of earlier versions keep their hash.
    ...(forward ? { isForwarded: true } : {}),
    ...(groupMentions ? { groupMentions } : {}),
  };
  return createHash('sha256').update(canonical(visible)).digest('hex');
}

/** JSON with sorted keys: the order of the fields does not matter. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
