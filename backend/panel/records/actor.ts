const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Who did it: a person by name, a key with the account that it belongs to, or the program itself. */
export function actorText(entry: Record<string, unknown>): string {
  const name = text(entry['actorName']);
  if (name === '') return 'Chasqui itself';
  const account = text(entry['accountName']);
  return entry['actorType'] === 'key' && account !== '' ? `${account} · ${name}` : name;
}
