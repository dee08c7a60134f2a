import { AppError, errorTable, parseRecipient, reservedIdKinds, type Address } from '@chasqui/shared';

/** Parses a chat or a person that a request names. `path`: the field of the request, for the error. Throws `INVALID_RECIPIENT`. */
export function parseAddressInput(input: string, path: string, countryCode: string | null | undefined): Address {
  const result = parseRecipient(input, countryCode);
  if (!result.ok) throw invalidRecipient(input, path, result.message);
  return result.address;
}

/** Like `parseAddressInput`, and refuses everything but people. */
export function parsePersonInput(input: string, path: string, countryCode: string | null | undefined): Address {
  const address = parseAddressInput(input, path, countryCode);
  if (address.kind === 'phone' || address.kind === 'lid') return address;
  throw invalidRecipient(input, path, 'This is a chat, not a person. Name a phone number, …@c.us or …@lid.');
}

/** Parses the id of a group that a request names. Throws `INVALID_RECIPIENT`. */
export function parseGroupInput(input: string, path: string): Address {
  const address = parseAddressInput(input, path, undefined);
  if (address.kind === 'group') return address;
  throw invalidRecipient(input, path, 'This is not the id of a group (…@g.us).');
}

const invalidRecipient = (input: string, path: string, message: string): AppError =>
  new AppError('INVALID_RECIPIENT', { input, fields: [{ path, code: 'INVALID_RECIPIENT', message }] }, message);

/**
 * Refuses recipients whose sends cannot use a reserved WhatsApp id. The outcome of such a send could not be looked up, so the message might be lost or
 * doubled. A story has a route of its own, and only stories go there. Throws `RECIPIENT_NOT_SUPPORTED`; nothing is stored.
 */
export function requireReservedId(address: Address, isStory = false): void {
  if ((address.kind === 'status') !== isStory)
    throw refusal(address, 'Post a story with POST /api/v1/sessions/:sessionId/stories.');
  if (reservedIdKinds.has(address.kind)) return;
  throw refusal(address);
}

function refusal({ kind }: Address, message: string = errorTable.RECIPIENT_NOT_SUPPORTED[1]): AppError {
  const code = 'RECIPIENT_NOT_SUPPORTED';
  return new AppError(code, { kind, fields: [{ path: 'recipient', code, message }] }, message);
}
