import {
  AppError,
  internalOperations,
  mediaOf,
  observedSession,
  sendDeadline,
  type MessageContent,
  type SendCommand,
} from '@chasqui/shared';
import type { Media } from '../media/media.js';
import type { Message } from '../messages/message.entity.js';
import type { ContentStore } from '../messages/sealed-content.js';
import type { LookupResult, MessageTransport, TransportResult } from '../messages/send/transport.js';
import type { WorkerGateway } from '../sessions/context.js';
import type { Session } from '../sessions/session.entity.js';
import { outputOf, type OutgoingFile, type WorkerClient } from './client.js';
import type { Placement } from './placement.js';
import { caughtUpOf, workerSettingsOf, type WorkerSettingParts } from './worker-settings.js';

/** Gives the domains access to workers: each verb finds the session's worker and calls it under the session's epoch. */
export interface Gateway extends WorkerGateway, MessageTransport {
  /** Runs an operation in the session's page and returns its output. Throws `WORKER_…` codes and those of WhatsApp. */
  run(
    session: Session,
    operation: string,
    input: Record<string, unknown>,
    deadlineMs: number,
    file?: OutgoingFile | null,
  ): Promise<unknown>;
}

export interface GatewayParts extends WorkerSettingParts {
  client: WorkerClient;
  placement: Placement;
  media: Media;
  contents: ContentStore;
  sendDeadlineMs: number;
  /** The duration of the lease that a start grants to a worker. */
  leaseMs: number;
}

export function createWorkerGateway(parts: GatewayParts): Gateway {
  const { client, placement } = parts;
  const urlOf = (session: Session): Promise<string> => urlOfWorker(parts, session);
  return {
    place: (session) => placement.place(session),
    init: (session) => initSession(parts, session),
    status: async (session) => client.status(await urlOf(session), session.id),
    disconnect: async (session, logout) => client.disconnect(await urlOf(session), { ...leaseOf(session), logout }),
    async restart(session) {
      outputOf(observedSession, await runOperation(parts, session, 'session.restart', {}, 30_000));
    },
    async pairingCode(session, phoneNumber) {
      const output = await runOperation(parts, session, 'session.pairingCode', { phoneNumber }, 20_000);
      return outputOf(internalOperations['session.pairingCode'].output, output);
    },
    async passkey(session) {
      const output = await runOperation(parts, session, 'session.passkey', {}, 10_000);
      return outputOf(internalOperations['session.passkey'].output, output);
    },
    async answerPasskey(session, answer) {
      await runOperation(parts, session, 'session.answerPasskey', { answer }, 30_000);
    },
    run: (session, operation, input, deadlineMs, file) => runOperation(parts, session, operation, input, deadlineMs, file),
    send: (session, message, isFirst) => sendMessage(parts, session, message, isFirst),
    lookup: (session, message) => lookUpMessage(parts, session, message),
  };
}

async function urlOfWorker({ placement }: GatewayParts, session: Session): Promise<string> {
  if (session.workerId === null) throw new AppError('WORKER_UNAVAILABLE');
  return placement.urlOf(session.workerId);
}

const leaseOf = (session: Session) => ({ sessionId: session.id, epoch: session.leaseEpoch });

const workerTooOld = 'The worker of this session is too old to use a proxy. Update it.';

async function initSession(parts: GatewayParts, session: Session) {
  const { client, leaseMs } = parts;
  const url = await urlOfWorker(parts, session);
  const settings = await workerSettingsOf(parts, session);
  // An older worker would ignore the proxy and connect without it.
  if (settings.proxy && !(await client.health(url)).proxies) throw new AppError('WORKER_UNAVAILABLE', {}, workerTooOld);
  return client.init(url, {
    ...leaseOf(session),
    deviceName: session.deviceName,
    settings,
    leaseMs,
    caughtUp: caughtUpOf(session),
  });
}

async function runOperation(
  parts: GatewayParts,
  session: Session,
  operation: string,
  input: Record<string, unknown>,
  deadlineMs: number,
  file: OutgoingFile | null = null,
): Promise<unknown> {
  const url = await urlOfWorker(parts, session);
  const command = { epoch: session.leaseEpoch, input, deadlineMs };
  const { output } = await parts.client.operation(url, session.id, operation, command, file);
  return output;
}

async function sendMessage(parts: GatewayParts, session: Session, message: Message, isFirst: boolean): Promise<TransportResult> {
  const { client, media, contents, sendDeadlineMs } = parts;
  const url = await urlOfWorker(parts, session).catch(() => null);
  if (!url) return { outcome: 'refused', reason: 'WORKER_UNAVAILABLE' };
  const opened = contents.open(message);
  if (!opened) return { outcome: 'failed', reason: 'CONTENT_WIPED', message: 'The content was removed.', retryable: false };
  const file = message.mediaId ? await media.find(message.accountId, message.mediaId) : null;
  const command: SendCommand = {
    epoch: session.leaseEpoch,
    reservedId: message.whatsappKey,
    recipient: message.chatId,
    content: opened.content,
    options: {
      quotedMessageId: message.options?.quotedMessageId ?? null,
      ignoreQuoteErrors: message.options?.ignoreQuoteErrors ?? false,
      mentions: opened.mentions,
      ...(opened.groupMentions ? { groupMentions: opened.groupMentions } : {}),
      typingMs: typingMs(session, opened.text),
      forward: message.options?.forward ?? null,
    },
    deadlineMs: sendDeadline(sendDeadlineMs, file?.size ?? 0),
    isFirst,
    attempt: Math.max(1, message.attempts),
    account: session.linkedAccount,
    acceptedAt: acceptedAt(message),
  };
  const name = nameOf(opened.content) ?? file?.id ?? '';
  const outgoing = file && { name, blob: () => media.blob(file, name) };
  return client.send(url, session.id, message.id, command, outgoing);
}

async function lookUpMessage(parts: GatewayParts, session: Session, message: Message): Promise<LookupResult | null> {
  const input = {
    reservedId: message.whatsappKey,
    chatId: message.chatId,
    account: session.linkedAccount,
    since: acceptedAt(message),
  };
  try {
    const output = await runOperation(parts, session, 'session.lookup', input, 20_000);
    return outputOf(internalOperations['session.lookup'].output, output);
  } catch (error) {
    if (error instanceof AppError) return null; // The session or its worker is unavailable; the lookup is retried later.
    throw error;
  }
}

/** The earliest time at which an attempt may have been made. */
const acceptedAt = ({ queuedAt, createdAt }: Message): string => (queuedAt ?? createdAt).toISOString();

/** How long the page shows "typing": people type about six characters a second, and a message is not delayed longer than eight seconds. */
const typingMs = (session: Session, text: string | null): number =>
  session.settings.pacing.typing ? Math.min(8_000, 400 + (text?.length ?? 0) * 160) : 0;

const nameOf = (content: MessageContent): string | null => mediaOf(content)?.filename ?? null;
