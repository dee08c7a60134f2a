import { createHash } from 'node:crypto';
import { z } from 'zod';

/**
 * Schemas for fields that were received from WhatsApp. The sender decides what arrives, so they never refuse a value: a long value is cut, and an
 * impossible one becomes null. Each result fits its database column.
 */

/** The longest text of WhatsApp, in UTF-16 units. */
export const maxText = 65_536;

/** Returns at most `max` UTF-16 units of a text, and never half of a surrogate pair. */
export const cutText = (text: string, max: number): string =>
  text.length <= max ? text : text.slice(0, /[\uD800-\uDBFF]/.test(text.charAt(max - 1)) ? max - 1 : max);

/** Returns a text that both databases can store: without NUL, and with U+FFFD in place of half a surrogate pair. */
export function storableText(text: string): string {
  return text.replaceAll('\0', '').replace(/[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD');
}

/**
 * Returns an id that can be stored. If it is longer than `max` or has characters that no id has, its end is replaced by a digest: different ids
 * stay different, and equal ids stay equal.
 */
export function storableId(id: string, max: number): string {
  if (id.length <= max && /^[\x21-\x7e]*$/.test(id)) return id;
  const digest = createHash('sha256').update(id).digest('hex').slice(0, 24);
  return `${id.replace(/[^\x21-\x7e]/g, '').slice(0, max - digest.length - 1)}~${digest}`;
}

export const text = (max: number) => z.string().transform((value) => cutText(storableText(value), max));
export const textOr = (max: number, otherwise: string) => text(max).catch(otherwise);
/** Null if it is absent or not a text. */
export const someText = (max: number) => text(max).nullable().catch(null);
export const id = (max: number) => z.string().transform((value) => storableId(value, max));
export const someId = (max: number) => id(max).nullable().catch(null);
export const someNumber = (min: number, max: number) => z.number().min(min).max(max).nullable().catch(null);
export const someCount = (max: number) =>
  z
    .number()
    .min(0)
    .max(max)
    .transform((value) => Math.round(value))
    .nullable()
    .catch(null);
export const flag = z.boolean().optional().catch(undefined);
/** A list without the items that cannot be read. */
export const listOf = <T extends z.ZodType>(item: T, max: number) =>
  z
    .array(z.unknown())
    .catch([])
    .transform((value): z.output<T>[] =>
      value.slice(0, max).flatMap((one) => {
        const { success, data } = item.safeParse(one);
        return success ? [data] : [];
      }),
    );
/** A time that may lie anywhere, such as the start of an event. */
export const plannedTime = z.iso.datetime().nullable().catch(null);

/** Amounts are in the currency's unit, not in thousandths. */
export const price = { amount: someNumber(-1e15, 1e15), currency: someText(8) };

const option = z.object({ id: someText(1_024), title: someText(1_024), description: someText(1_024) });
/** A message that offers options to choose from. */
export const offer = {
  message: someText(maxText),
  title: someText(1_024),
  footer: someText(1_024),
  options: listOf(option, 100),
};
