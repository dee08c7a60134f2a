import { AppError, parseRecipient, type Address, type AddressRole, type Operation } from '@chasqui/shared';

type Input = Record<string, unknown>;

/**
 * Replaces the people and chats that a request names by WhatsApp's ids: the worker gets `5511999990001@c.us` for `+55 11 99999-0001`. `countryCode`
 * is the calling code for numbers that begin with 0. Throws `INVALID_RECIPIENT`, whose details name the field.
 */
export function withAddresses({ addresses }: Pick<Operation, 'addresses'>, input: Input, countryCode: string | undefined): Input {
  const named: Input = {};
  for (const [field, role] of Object.entries(addresses)) {
    const value = input[field];
    if (typeof value === 'string') named[field] = idOf(value, role, field, countryCode);
    else if (Array.isArray(value))
      named[field] = value.map((one, index) => idOf(String(one), role, `${field}.${index}`, countryCode));
  }
  return { ...input, ...named };
}

/** Replaces our ids of messages by WhatsApp's, which `find` looks up. */
export async function withMessages(
  { messages }: Pick<Operation, 'messages'>,
  input: Input,
  find: (ref: string) => Promise<string>,
): Promise<Input> {
  const named: Input = {};
  for (const field of messages) {
    const value = input[field];
    if (typeof value === 'string') named[field] = await find(value);
  }
  return { ...input, ...named };
}

/** Returns the first chat, person or group that the input names, for the audit entry. */
export function addressedBy({ addresses }: Pick<Operation, 'addresses'>, input: Input): string | null {
  const [first] = Object.keys(addresses).flatMap((field) => input[field] ?? []);
  return typeof first === 'string' ? first : null;
}

function idOf(input: string, role: AddressRole, path: string, countryCode: string | undefined): string {
  const result = parseRecipient(input, countryCode);
  const message = result.ok ? mismatch(result.address, role) : result.message;
  if (result.ok && message === null) return result.address.id;
  const details = { input, fields: [{ path, code: 'INVALID_RECIPIENT', message }] };
  throw new AppError('INVALID_RECIPIENT', details, message ?? undefined);
}

function mismatch({ kind }: Address, role: AddressRole): string | null {
  const isPerson = kind === 'phone' || kind === 'lid';
  switch (role) {
    case 'person':
      return isPerson ? null : 'This is a chat, not a person. Name a phone number, …@c.us or …@lid.';
    case 'group':
      return kind === 'group' ? null : 'This is not the id of a group (…@g.us).';
    case 'channel':
      return kind === 'channel' ? null : 'This is not the id of a channel (…@newsletter).';
    case 'chat':
      return kind === 'status' ? 'Stories have routes of their own.' : null;
  }
}
