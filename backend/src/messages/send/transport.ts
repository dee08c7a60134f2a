import type { MessageReason, SendOutcome } from '@chasqui/shared';
import type { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';

/**
 * The result of handing a message over. `refused`: this call certainly handed nothing over. `unknown`: the reply was lost, and only the
 * worker's send record or WhatsApp itself can decide.
 */
export type TransportResult = SendOutcome | { outcome: 'refused'; reason: MessageReason } | { outcome: 'unknown' };

/**
 * The result of a lookup under the reserved id. `ack` is WhatsApp's number: below 0 refused, 0 not acknowledged. `proven`: the message would
 * have been found if it had been sent.
 */
export type LookupResult = { found: true; whatsappId: string; ack: number } | { found: false; proven: boolean };

/** The access of the dispatcher to WhatsApp. It is passed in, because this domain does not know how a worker is called. */
export interface MessageTransport {
  /** Hands a message over. Must not reject. `isFirst`: there was no attempt before this one. */
  send(session: Session, message: Message, isFirst: boolean): Promise<TransportResult>;
  /** Looks a message up under its reserved id. Returns null if the session or its worker does not answer. */
  lookup(session: Session, message: Message): Promise<LookupResult | null>;
}
