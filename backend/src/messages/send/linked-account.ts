/** Whether a message was accepted for another WhatsApp account than the one the session was last linked to. */
export const isForAnotherAccount = (
  message: { linkedAccountNumber: number },
  session: { linkedAccountNumber: number },
): boolean => message.linkedAccountNumber !== session.linkedAccountNumber;
