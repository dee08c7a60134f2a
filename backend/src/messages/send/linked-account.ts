import type { Session } from '../../sessions/session.entity.js';
import type { Message } from '../message.entity.js';

/** Whether a message was accepted for another WhatsApp account than the one to which the session was last linked. */
export const isForAnotherAccount = (
  message: { linkedAccountNumber: number },
  session: { linkedAccountNumber: number },
): boolean => message.linkedAccountNumber !== session.linkedAccountNumber;

/** Returns the columns with which a message is sent as the account to which the session is linked. */
export const accountFieldsOf = ({
  linkedAccountNumber,
  phoneNumber,
}: Session): Pick<Message, 'linkedAccountNumber' | 'fromId'> => ({
  linkedAccountNumber,
  fromId: phoneNumber ? `${phoneNumber.replace(/^\+/, '')}@c.us` : null,
});
