/** A refusal with the text of WhatsApp's server. The page throws it as WhatsApp's own error class; the control API answers with its status. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Throws WhatsApp's answer for a group, a channel or an account that does not exist. */
export const notFound = (): never => {
  throw new Refusal(404, 'item-not-found');
};
