import { AppError, internalOperations, mediaOf, observedSession, type MessageContent, type SendCommand } from '@chasqui/shared';
import type { LookupResult, MessageTransport, TransportResult } from '../messages/send/transport.js';
import type { ContentStore } from '../messages/sealed-content.js';
import type { Message } from '../messages/message.entity.js';
import type { Media } from '../media/media.js';
import type { Session } from '../sessions/session.entity.js';
import type { StorageOf } from '../sessions/storage-mode.js';
import type { WorkerGate } from '../sessions/running.js';
import type { WorkerClient } from './client.js';
import type { Placement } from './placement.js';
import { caughtUpOf, workerSettingsOf } from './worker-settings.js';

export interface WorkerGatewayOptions {
  client: WorkerClient;
  placement: Placement;
  media: Media;
  contents: ContentStore;
  storageOf: StorageOf;
  sendDeadlineMs: number;
  /** How long a lease holds that a start gives to a worker. */
  leaseMs: number;
}

/** The domains' ways out, over the worker's HTTP contract. */
export function createGate({
  client,
  placement,
  media,
  contents,
  storageOf,
  sendDeadlineMs,
  leaseMs,
}: WorkerGatewayOptions): WorkerGate &
  MessageTransport & {
    run(session: Session, operation: string, input: Record<string, unknown>, deadlineMs: number): Promise<unknown>;
  } {
  const urlOf = async (session: Session): Promise<string> => {
    if (session.workerId === null) throw new AppError('WORKER_UNAVAILABLE');
    return placement.urlOf(session.workerId);
  };
  const about = (session: Session) => ({ sessionId: session.id, epoch: session.leaseEpoch });

  async function run(session: Session, operation: string, input: Record<string, unknown>, deadlineMs: number): Promise<unknown> {
    return (await client.operation(await urlOf(session), session.id, operation, { epoch: session.leaseEpoch, input, deadlineMs }))
      .output;
  }

  return {
    run,
    place: (session) => placement.place(session),
    init: async (session) =>
      client.init(await urlOf(session), {
        ...about(session),
        deviceName: session.deviceName,
        settings: workerSettingsOf(session, await storageOf(session)),
        leaseMs,
        caughtUp: caughtUpOf(session),
      }),
    status: async (session) => client.status(await urlOf(session), session.id),
    disconnect: async (session, logout) => client.disconnect(await urlOf(session), { ...about(session), logout }),
    async restart(session) {
      observedSession.parse(await run(session, 'session.restart', {}, 30_000));
    },
    async pairingCode(session, phoneNumber) {
      return internalOperations['session.pairingCode'].output.parse(
        await run(session, 'session.pairingCode', { phoneNumber }, 20_000),
      );
    },

    async send(session, message, isFirst): Promise<TransportResult> {
      const url = await urlOf(session).catch(() => null);
      if (!url) return { outcome: 'refused', reason: 'WORKER_UNAVAILABLE' };
      const opened = contents.open(message);
      if (!opened) return { outcome: 'failed', reason: 'CONTENT_WIPED', message: 'The content was removed.', retryable: false };
      const row = message.mediaId ? await media.find(message.accountId, message.mediaId) : null;
      const command: SendCommand = {
        epoch: session.leaseEpoch,
        reservedId: message.whatsappKey,
        recipient: message.chatId,
        content: opened.content,
        options: {
          quotedMessageId: message.options?.quotedMessageId ?? null,
          ignoreQuoteErrors: message.options?.ignoreQuoteErrors ?? false,
          mentions: opened.mentions,
          typingMs: typingMs(session, opened.text),
        },
        deadlineMs: sendDeadlineMs,
        isFirst,
        attempt: Math.max(1, message.attempts),
        account: session.linkedAccount,
        acceptedAt: acceptedAt(message),
      };
      return client.send(
        url,
        session.id,
        message.id,
        command,
        row ? { name: nameOf(opened.content) ?? row.id, blob: () => media.blob(row) } : null,
      );
    },
    async lookup(session, message): Promise<LookupResult | null> {
      try {
        return internalOperations['session.lookup'].output.parse(
          await run(
            session,
            'session.lookup',
            {
              reservedId: message.whatsappKey,
              chatId: message.chatId,
              account: session.linkedAccount,
              since: acceptedAt(message),
            },
            20_000,
          ),
        );
      } catch (error) {
        if (error instanceof AppError) return null; // The session or its worker is away: asked again later.
        throw error;
      }
    },
  };
}

/** From when on an attempt may have been made. */
const acceptedAt = ({ queuedAt, createdAt }: Message): string => (queuedAt ?? createdAt).toISOString();

/** A time that fits the text's length: people type about six characters a second, and nobody waits longer than eight seconds. */
const typingMs = (session: Session, text: string | null): number =>
  session.settings.pacing.typing ? Math.min(8_000, 400 + (text?.length ?? 0) * 160) : 0;

const nameOf = (content: MessageContent): string | null => mediaOf(content)?.filename ?? null;
