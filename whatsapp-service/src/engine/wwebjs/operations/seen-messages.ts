import { textOf, type ObservedMessage, type SeenMessage } from '@chasqui/shared';
import { observeAny, peopleIn, type RawMessage } from '../translate.js';
import type { OperationContext } from './context.js';

/** Converts posts of channels and stories to the form in which the API lists them. One that cannot be read becomes `unknown`. */
export async function seenMessages(
  raw: readonly RawMessage[],
  identities: OperationContext['identities'],
): Promise<SeenMessage[]> {
  await identities.learn(raw.flatMap((one) => peopleIn(one)));
  return raw.map((one) => {
    const { message } = observeAny(
      one,
      (id) => identities.contact(id),
      (id) => identities.name(id),
    );
    return seen(message);
  });
}

const seen = ({ whatsappId, fromMe, chat, contact, content, timestamp }: ObservedMessage): SeenMessage => {
  if (content.type === 'withheld')
    return { whatsappId, fromMe, chat, contact, type: content.of, text: null, content: {}, timestamp };
  const { type, ...fields } = content;
  return { whatsappId, fromMe, chat, contact, type, text: textOf(content), content: fields, timestamp };
};
