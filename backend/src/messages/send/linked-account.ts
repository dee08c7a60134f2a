/** Whether a message was accepted for another WhatsApp account than the one to which the session was last linked. */
export const isForAnotherAccount = (
  message: { linkedAccountNumber: number },
  session: { linkedAccountNumber: number },
): boolean => message.linkedAccountNumber !== session.linkedAccountNumber;
