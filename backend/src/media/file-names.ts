import { extension } from 'mime-types';

/**
 * Makes names of files safe. A name comes from the sender of the file and is shown to its receiver, so it must be one that any system can store:
 * no path, no reserved or invisible characters, no name of a device, an extension, and at most `maxLength` UTF-16 units and `maxBytes` bytes.
 */

const maxLength = 200;
/** Linux, Android and macOS allow 255 bytes; the rest is for what a program appends for a draft or a copy. */
const maxBytes = 240;

/** Format characters that no name needs. Joiners and tags are kept: emoji and some scripts are written with them. */
const hidden = /(?![\u200c\u200d\u{e0020}-\u{e007f}])\p{Cf}/gu;
const loneSurrogates = /\p{Cs}/gu;
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;
/** Characters that Windows or macOS reserve. Separators are replaced by a dash, the others are removed. */
const separators = / ?[/\\:|] ?/g;
const reserved = /[<>"?*]/g;
/** Names of devices on Windows, with any extension. Windows cannot store a file with such a name. */
const device = /^(con|prn|aux|nul|com[0-9\u00b9\u00b2\u00b3]|lpt[0-9\u00b9\u00b2\u00b3]|conin\$|conout\$)\s*(\.|$)/i;
/** Whether a name is a path, as some programs send it. */
const isPath = (name: string): boolean => /^([a-z]:[/\\]|[/\\]|~[/\\]|\.{1,2}[/\\])/i.test(name);

/**
 * Returns a name that can be stored and shown; null when nothing remains of it. Only the last part of a path is used; a slash inside a name
 * (`Invoice 10/2026.pdf`) becomes a dash. A name that is too long is cut before its extension and between characters.
 */
export function safeName(name: string | null | undefined): string | null {
  const normalized = (name ?? '').replace(loneSurrogates, '').normalize('NFC');
  const last = isPath(normalized)
    ? (normalized
        .split(/[/\\]/)
        .filter((part) => part !== '')
        .at(-1) ?? '')
    : normalized;
  const clean = last
    .replace(controls, '')
    .replace(hidden, '')
    .replace(separators, '-')
    .replace(reserved, '')
    .replace(/^[.\s]+/, '');
  if (/^[-\s.]*$/.test(clean)) return null;
  const short = cut(withoutTrailing(clean));
  return device.test(short) ? `_${short}` : short;
}

/** Windows removes dots and blanks at the end of a name. */
function withoutTrailing(name: string): string {
  let end = name.length;
  while (end > 0 && /[.\s]/.test(name[end - 1]!)) end -= 1;
  return name.slice(0, end);
}

/** A usual extension: up to eight letters and digits, at least one of them a letter. */
const ending = /\.(?=[a-z0-9]*[a-z])[a-z0-9]{1,8}$/i;

/** Returns the name under which a document is sent: a safe one, with an extension that programs can open; `document` where there is no name. */
export function documentName(name: string | null | undefined, mimetype: string): string {
  const safe = safeName(name) ?? 'document';
  if (ending.test(safe)) return safe;
  const known = extension(mimetype);
  return known ? cut(`${safe}.${known}`) : safe;
}

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

function cut(name: string): string {
  const fits = (text: string): boolean => text.length <= maxLength && Buffer.byteLength(text) <= maxBytes;
  if (fits(name)) return name;
  const end = ending.exec(name)?.[0] ?? '';
  let stem = '';
  for (const { segment } of graphemes.segment(name.slice(0, name.length - end.length))) {
    if (!fits(stem + segment + end)) break;
    stem += segment;
  }
  return `${stem.trimEnd()}${end}`;
}
