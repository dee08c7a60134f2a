import type { ObservedMessage } from '@chasqui/shared';
import { observeAny, peopleIn, type RawMessage } from '../translate.js';
import type { OperationContext } from './context.js';

/**
 * Converts messages of the page to the contract's type, with their contacts and without thumbnails, which only events carry. A message that cannot be
 * read becomes `unknown`; none is left out.
 */
export async function observeAll(
  messages: readonly RawMessage[],
  { identities }: Pick<OperationContext, 'identities'>,
): Promise<ObservedMessage[]> {
  await identities.learn(messages.flatMap(peopleIn));
  return messages.map((raw) => ({ ...observeAny(raw, identities.contact, identities.name).message, thumbnail: null }));
}
