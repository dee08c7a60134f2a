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

const invalidRecipient = (input: string, path: string, message: string): AppError =>
  new AppError('INVALID_RECIPIENT', { input, fields: [{ path, code: 'INVALID_RECIPIENT', message }] }, message);

/**
 * Refuses recipients whose sends cannot use a reserved WhatsApp id. The outcome of such a send could not be looked up, so the message might be lost or
 * doubled. Throws `RECIPIENT_NOT_SUPPORTED`; nothing is stored.
 */
export function requireReservedId(address: Address): void {
  if (reservedIdKinds.has(address.kind)) return;
  const code = 'RECIPIENT_NOT_SUPPORTED';
  const message = errorTable[code][1];
  throw new AppError(code, { kind: address.kind, fields: [{ path: 'recipient', code, message }] });
}
