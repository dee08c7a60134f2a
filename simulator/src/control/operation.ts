import { z } from 'zod';
import type { Account } from '../accounts.js';
import { Refusal } from '../refusal.js';
import type { World } from '../world.js';

/** One operation of the control API: `POST /api/<name>` with a JSON object. */
export interface Operation<I extends z.ZodType = z.ZodType, O = unknown> {
  about: string;
  input: I;
  run: (input: z.output<I>) => O;
}

export const operation = <I extends z.ZodType, O>(about: string, input: I, run: (input: z.output<I>) => O): Operation<I, O> => ({
  about,
  input,
  run,
});

/** A phone number in any notation. Only its digits are used. */
export const phone = z.string().transform((text, context) => {
  const digits = text.split('@', 1)[0]!.replace(/\D/g, '');
  if (digits.length < 7 || digits.length > 15) context.addIssue('a number has 7 to 15 digits');
  return digits;
});
export const nothing = z.object({});

/** Finds the account of a phone. Throws a 404 if the phone was not created. */
export const accountIn =
  (world: World) =>
  (number: string): Account => {
    const found = world.phones.accounts.get(number);
    if (!found) throw new Refusal(404, `There is no phone ${number}. Create it first.`);
    return found;
  };
