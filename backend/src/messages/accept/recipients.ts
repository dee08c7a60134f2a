import { AppError, errorTable, reservedIdKinds, type Address } from '@chasqui/shared';

/**
 * Refuses recipients whose sends cannot use a reserved WhatsApp id. What became of such a send could not be looked up, so that it might be lost or
 * doubled. Throws `RECIPIENT_NOT_SUPPORTED`; nothing is stored.
 */
export function requireReservedId(address: Address): void {
  if (reservedIdKinds.has(address.kind)) return;
  const code = 'RECIPIENT_NOT_SUPPORTED';
  const message = errorTable[code][1];
  throw new AppError(code, { kind: address.kind, fields: [{ path: 'recipient', code, message }] });
}
