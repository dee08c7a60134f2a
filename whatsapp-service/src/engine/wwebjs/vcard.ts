/** The fields that are read from a received contact card. Its sender decides what it contains, so reading takes linear time and is bounded. */
export interface CardFields {
  name: string | null;
  phone: string | null;
}

const maxCard = 65_536;
const maxLines = 500;
/** RFC 6350 folds lines at 75 characters. A longer value is not a name or a number. */
const maxLine = 1_000;

interface Line {
  property: string;
  parameters: string[];
  value: string;
}

/**
 * Returns the first name and the first number. The name is FN, or the parts of N. Property names are read in any case and after a group
 * (`item1.TEL`); folded lines are joined; versions 2.1 (quoted-printable), 3 (escapes) and 4 (`tel:` URIs) are supported. If the value has no
 * number, WhatsApp's own `waid` parameter is used.
 */
export function readCard(vcard: string): CardFields {
  let name: string | null = null;
  let parts: string | null = null;
  let phone: string | null = null;
  for (const text of unfolded(vcard)) {
    const line = parsed(text);
    if (line?.property === 'FN') name ??= textOf(line) || null;
    if (line?.property === 'N') parts ??= nameOf(line) || null;
    if (line?.property === 'TEL') phone ??= numberOf(line);
    if (name !== null && phone !== null) break;
  }
  return { name: name ?? parts, phone };
}

function parsed(line: string): Line | null {
  const colon = endOfParameters(line);
  if (colon < 1) return null;
  const [property = '', ...parameters] = line.slice(0, colon).split(';', 20);
  return {
    property: property.slice(property.lastIndexOf('.') + 1).toUpperCase(),
    parameters,
    value: line.slice(colon + 1).trim(),
  };
}

/** The position of the first colon that is not inside quotes; the value follows it. */
function endOfParameters(line: string): number {
  let isQuoted = false;
  for (let at = 0; at < line.length; at += 1) {
    if (line[at] === '"') isQuoted = !isQuoted;
    if (line[at] === ':' && !isQuoted) return at;
  }
  return line.indexOf(':');
}

function numberOf({ parameters, value }: Line): string | null {
  const number = value.replace(/^tel:/i, '');
  return /\d/.test(number) ? number : waid(parameters);
}

function waid(parameters: readonly string[]): string | null {
  const parameter = parameters.find((candidate) => candidate.toLowerCase().startsWith('waid='));
  const digits = parameter?.slice('waid='.length) ?? '';
  return /^\d{5,20}$/.test(digits) ? `+${digits}` : null;
}

const isQuotedPrintable = ({ parameters }: Pick<Line, 'parameters'>): boolean =>
  parameters.some((parameter) => /^(encoding=)?quoted-printable$/i.test(parameter));

function textOf(line: Line): string {
  return unescaped(isQuotedPrintable(line) ? fromQuotedPrintable(line.value) : line.value);
}

/** N contains: family name; given name; further names; titles before; titles after. */
function nameOf(line: Line): string {
  const value = isQuotedPrintable(line) ? fromQuotedPrintable(line.value) : line.value;
  const [family = '', given = '', further = '', before = '', behind = ''] = value.split(/(?<!\\);/, 5).map(unescaped);
  return [before, given, further, family, behind].filter((part) => part !== '').join(' ');
}

const unescaped = (text: string): string =>
  text.replace(/\\(.)/g, (_, character: string) => (/n/i.test(character) ? ' ' : character)).trim();

/** Decodes UTF-8 bytes written as `=C3=A3`. Other text is unchanged. */
function fromQuotedPrintable(text: string): string {
  const latin1 = Buffer.from(text, 'utf8').toString('latin1');
  const bytes = latin1.replace(/=([0-9A-F]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8');
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
    // A quoted-printable value continues on the next line after a `=` at the end.
    const isSoftBreak =
      line.endsWith('=') && isQuotedPrintable({ parameters: line.slice(0, endOfParameters(line)).split(';', 20) });
    if (isSoftBreak || raw.startsWith(' ') || raw.startsWith('\t')) {
      if (line.length < maxLine) line = isSoftBreak ? line.slice(0, -1) + raw : line + raw.slice(1);
      continue;
    }
    if (line) yield line;
    line = raw;
  }
  if (line) yield line;
}
