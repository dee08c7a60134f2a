/** A refusal as WhatsApp's server words it; the page throws it in a class of its own. The control API answers it with its status. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}
