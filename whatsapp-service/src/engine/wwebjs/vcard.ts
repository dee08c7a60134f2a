/** What we read of a contact card. Linear in its length, and bounded: a card comes from whoever writes to us. */
export interface CardFields {
  name: string | null;
  phone: string | null;
}

const maxCard = 65_536;
const maxLines = 500;
/** RFC 6350 folds lines at 75 characters. A value that is longer than this is no name and no number. */
const maxLine = 1_000;

/**
 * The first FN and the first TEL. Property names count in any case and behind a group (`item1.TEL`); folded lines are joined; WhatsApp's
 * own `waid` parameter gives the number where the value holds none.
 */
export function readCard(vcard: string): CardFields {
  const found: CardFields = { name: null, phone: null };
  for (const line of unfolded(vcard)) {
    const colon = line.indexOf(':');
    if (colon < 1) continue;
    const value = line.slice(colon + 1).trim();
    const [property = '', ...parameters] = line.slice(0, colon).split(';', 20);
    switch (property.slice(property.lastIndexOf('.') + 1).toUpperCase()) {
      case 'FN':
        found.name ??= value || null;
        break;
      case 'TEL':
        found.phone ??= value || waid(parameters);
        break;
    }
    if (found.name !== null && found.phone !== null) break;
  }
  return found;
}

function waid(parameters: readonly string[]): string | null {
  const parameter = parameters.find((candidate) => candidate.toLowerCase().startsWith('waid='));
  const digits = parameter?.slice('waid='.length) ?? '';
  return /^\d{5,20}$/.test(digits) ? `+${digits}` : null;
}

function* unfolded(vcard: string): Generator<string> {
  const text = vcard.slice(0, maxCard);
  let line = '';
  let count = 0;
  for (let start = 0; start < text.length && count < maxLines; count += 1) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const raw = text.slice(start, Math.min(end, start + maxLine)).replace(/\r$/, '');
    start = end + 1;
    const isContinuation = raw.startsWith(' ') || raw.startsWith('\t');
    if (isContinuation) {
      if (line.length < maxLine) line += raw.slice(1);
      continue;
    }
    if (line) yield line;
    line = raw;
  }
  if (line) yield line;
}
