import { parseRecipient, type OperationInput, type OperationOutput } from '@chasqui/shared';
import { callPage } from '../bridge.js';
import type { OperationContext } from './context.js';

/** Asks WhatsApp itself; an input that is no number is not registered, and is not asked. */
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
  const registered = new Set(answers.filter((answer) => answer.wid !== null).map((answer) => answer.id));
  await identities.learn([...registered]);
  return parsed.map(({ input, id }) => {
    const isRegistered = id !== null && registered.has(id);
    return { input, normalised: id, registered: isRegistered, contact: isRegistered ? identities.contact(id) : null };
  });
}
