import { z } from 'zod';

/** One thing that can be ordered: `POST /api/<name>` with a JSON object. */
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

/** A number in any writing: digits are what counts. */
export const phone = z.string().transform((text, context) => {
  const digits = text.split('@', 1)[0]!.replace(/\D/g, '');
  if (digits.length < 7 || digits.length > 15) context.addIssue('a number has 7 to 15 digits');
  return digits;
});
export const nothing = z.object({});
