/** A refusal as WhatsApp's server words it; the page throws it in a class of its own. The control API answers it with its status. */
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
