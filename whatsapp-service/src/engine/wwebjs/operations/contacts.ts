import { parseRecipient, type OperationInput, type OperationOutput } from '@chasqui/shared';
import { callPage } from '../bridge.js';
import type { OperationContext } from './context.js';

/**
 * Checks at WhatsApp which numbers are registered. An input that is not a number counts as not registered, without a query. `normalised` is
 * the number as WhatsApp writes it, which may differ from the input; for a number that is not registered it is the input's.
 */
export async function checkNumbers(
  { numbers, countryCode }: OperationInput<'contacts.check'>,
  { page, identities, deadlineMs }: OperationContext,
): Promise<OperationOutput<'contacts.check'>> {
  const parsed = numbers.map((input) => {
    const result = parseRecipient(input, countryCode);
    return {
      input,
      id: result.ok && (result.address.kind === 'phone' || result.address.kind === 'lid') ? result.address.id : null,
    };
  });
  const ids = [...new Set(parsed.flatMap(({ id }) => id ?? []))];
  const answers = ids.length > 0 ? await callPage<{ id: string; wid: string | null }[]>(page, 'exists', { ids }, deadlineMs) : [];
  const registered = new Map(answers.flatMap(({ id, wid }) => (wid === null ? [] : [[id, wid] as const])));
  await identities.learn([...registered.values()]);
  return parsed.map(({ input, id }) => {
    const wid = id === null ? undefined : registered.get(id);
    if (wid === undefined) return { input, normalised: id, registered: false, contact: null };
    const contact = identities.contact(wid);
    return { input, normalised: contact.phone ? contact.id : id, registered: true, contact };
  });
}
