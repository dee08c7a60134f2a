import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { settings } from '@chasqui/shared';
import { documentName, safeName } from '../src/media/file-names.js';
import { inMemory } from '../src/lib/file-bytes.js';
import { resolveType } from '../src/media/file-types.js';
import { readSource, type MediaOwner, type SourceReader } from '../src/media/sources.js';

/** The types and names of files that are sent. */

const allowed = settings.ALLOWED_FILE_TYPES.schema.parse(undefined) as string[];
const png = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const pdf = Buffer.from('%PDF-1.4\n%%EOF');
const cfb = Buffer.concat([Buffer.from('d0cf11e0a1b11ae1', 'hex'), Buffer.alloc(2_040)]);
const zip = Buffer.concat([Buffer.from('504b0506', 'hex'), Buffer.alloc(18)]);
const xml = Buffer.from('<?xml version="1.0" encoding="UTF-8"?>\n<invoice number="1"/>\n');
const csv = Buffer.from('a;b\n1;2\n');
const cyrillic = Buffer.from('Имя;Телефон\nАна;1\n');
const latin1 = Buffer.from('Não;1\n', 'latin1');
const unknown = Buffer.from([1, 2, 3, 4]);

const typeOf = (bytes: Buffer, hints: Partial<Parameters<typeof resolveType>[1]> = {}) =>
  resolveType(inMemory(bytes), { declared: null, filename: null, type: undefined, ...hints }, allowed);

describe('the type of a file', () => {
  test.each([
    ['bytes alone', png, {}, 'image/png'],
    ['bytes before the declared type of the same family', png, { declared: 'image/jpeg' }, 'image/png'],
    ['bytes before what a server says', png, { served: 'text/plain' }, 'image/png'],
    ['bytes before the name', pdf, { filename: 'report.doc' }, 'application/pdf'],
    ['a Word file by its declared type', cfb, { declared: 'application/msword' }, 'application/msword'],
    [
      'an Excel file by its name',
      cfb,
      { filename: 'table.xls', declared: 'application/octet-stream' },
      'application/vnd.ms-excel',
    ],
    [
      'a PowerPoint file by what the server says',
      cfb,
      { served: 'application/vnd.ms-powerpoint' },
      'application/vnd.ms-powerpoint',
    ],
    ['an OpenDocument file by its name', zip, { filename: 'a.odt' }, 'application/vnd.oasis.opendocument.text'],
    ['a bare archive', zip, { filename: 'a.zip' }, 'application/zip'],
    ['XML', xml, { declared: 'text/xml' }, 'text/xml'],
    ['XML that is called application/xml', xml, { declared: 'application/xml' }, 'text/xml'],
    ['a vector image', xml, { declared: 'image/svg+xml' }, 'image/svg+xml'],
    ['a table by its name', csv, { filename: 'table.csv', declared: 'application/octet-stream' }, 'text/csv'],
    ['a table that is declared as plain text', csv, { filename: 'table.csv', declared: 'text/plain' }, 'text/csv'],
    ['Markdown by its name', csv, { filename: 'notes.md', served: 'binary/octet-stream' }, 'text/markdown'],
    ['a text in another alphabet', cyrillic, { filename: 'people.csv' }, 'text/csv'],
    ['a text in an old encoding', latin1, {}, 'text/plain'],
    ['a text with the name of a video', csv, { filename: 'main.ts' }, 'text/plain'],
    ['a text with the name of a picture', csv, { filename: 'a.png' }, 'text/plain'],
    ['a PDF behind a blank line and a mark', Buffer.concat([Buffer.from('\ufeff\n'), pdf]), {}, 'application/pdf'],
    ['an archive under another name for its type', zip, { declared: 'application/x-zip-compressed' }, 'application/zip'],
    ['an archive of a type that bytes cannot tell', zip, { declared: 'application/vnd.google-earth.kmz' }, 'application/zip'],
    ['a document of the Word family', cfb, { declared: 'application/vnd.ms-excel' }, 'application/vnd.ms-excel'],
  ])('%s', async (_what, bytes, hints, type) => {
    expect(await typeOf(bytes, hints)).toBe(type);
  });

  test.each([
    ['an archive that is declared as a PDF', zip, 'application/pdf'],
    ['a PDF that is declared as an archive', pdf, 'application/zip'],
    ['a PDF that is declared as a Word file', pdf, 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
    ['a text that is declared as a PDF', csv, 'application/pdf'],
    ['a text that is declared as an archive', csv, 'application/zip'],
    ['a text that is declared as a Word file', csv, 'application/vnd.openxmlformats-officedocument.wordprocessingml.document'],
  ])('%s is refused', async (_what, bytes, declared) => {
    await expect(typeOf(bytes, { declared })).rejects.toMatchObject({ code: 'FILE_TYPE_MISMATCH' });
  });

  test.each([
    ['a text that is declared as a picture', csv, { declared: 'image/png' }, 'FILE_TYPE_MISMATCH'],
    ['a picture that is declared as a text', png, { declared: 'text/plain' }, 'FILE_TYPE_MISMATCH'],
    ['a picture that is declared as a PDF', png, { declared: 'application/pdf' }, 'FILE_TYPE_MISMATCH'],
    ['a PDF that is to be a picture', pdf, { type: 'image' as const }, 'FILE_TYPE_MISMATCH'],
    ['a vector image that is to be a picture', xml, { declared: 'image/svg+xml', type: 'image' as const }, 'FILE_TYPE_MISMATCH'],
    ['a container of an unknown type', cfb, {}, 'FILE_TYPE_NOT_ALLOWED'],
    ['a mail in a container', cfb, { filename: 'mail.msg' }, 'FILE_TYPE_NOT_ALLOWED'],
    ['unknown bytes with the name of a picture', unknown, { filename: 'a.png' }, 'FILE_TYPE_NOT_ALLOWED'],
    ['unknown bytes', unknown, {}, 'FILE_TYPE_NOT_ALLOWED'],
    ['a shell script', csv, { declared: 'application/x-sh', filename: 'a.sh' }, 'FILE_TYPE_NOT_ALLOWED'],
    ['a type that is none', unknown, { declared: 'text/a b' }, 'FILE_TYPE_NOT_ALLOWED'],
  ])('%s is refused', async (_what, bytes, hints, code) => {
    await expect(typeOf(bytes, hints)).rejects.toMatchObject({ code });
  });
});

describe('the name of a document', () => {
  test.each([
    [null, 'application/pdf', 'document.pdf'],
    ['', 'application/pdf', 'document.pdf'],
    ['...', 'application/pdf', 'document.pdf'],
    ['/', 'text/csv', 'document.csv'],
    ['Invoice 10/2026.pdf', 'application/pdf', 'Invoice 10-2026.pdf'],
    ['10:30 | plan?.pdf', 'application/pdf', '10-30-plan.pdf'],
    ['C:\\fakepath\\a.pdf', 'application/pdf', 'a.pdf'],
    ['/home/ana/a.pdf', 'application/pdf', 'a.pdf'],
    ['../../etc/passwd', 'text/plain', 'passwd.txt'],
    ['contract', 'application/pdf', 'contract.pdf'],
    ['contract v1.2', 'application/pdf', 'contract v1.2.pdf'],
    ['contract.', 'application/pdf', 'contract.pdf'],
    ['table.XLSX', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'table.XLSX'],
    ['Ação 😀 100%.pdf', 'application/pdf', 'Ação 😀 100%.pdf'],
    ['família 👨‍👩‍👧.pdf', 'application/pdf', 'família 👨‍👩‍👧.pdf'],
    ['report\u202efdp.exe', 'application/pdf', 'reportfdp.exe'],
    ['a\u200bb\u0007.pdf', 'application/pdf', 'ab.pdf'],
    ['a\ud83d.pdf', 'application/pdf', 'a.pdf'],
    ['CON', 'application/pdf', '_CON.pdf'],
    ['nul.pdf', 'application/pdf', '_nul.pdf'],
    ['Com1.2026.pdf', 'application/pdf', '_Com1.2026.pdf'],
    ['lpt\u00b9 .pdf', 'application/pdf', '_lpt\u00b9 .pdf'],
    ['console.pdf', 'application/pdf', 'console.pdf'],
  ])('%p of type %s is %s', (given, type, name) => {
    expect(documentName(given, type)).toBe(name);
  });

  test('a long name is cut before its ending and between characters', () => {
    for (const unit of ['😀', '👨‍👩‍👧', 'e\u0301', 'x', '契', 'ส', 'ж']) {
      const name = documentName(`${unit.repeat(250)}.pdf`, 'application/pdf');
      expect(name.length).toBeLessThanOrEqual(200);
      // File systems count bytes: a longer name cannot be stored.
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
      expect(name.slice(0, -4).split(unit.normalize('NFC')).join('')).toBe('');
      expect(name.endsWith('.pdf')).toBe(true);
    }
  });

  test('for any input the name is safe, has an extension, and stays the same when it is made safe again', () => {
    const part = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('/', '\\', '..', ':', '\ud83d', '\u202e', '😀', ' ', '.'),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 300 }), (parts) => {
        const name = documentName(parts.join(''), 'application/pdf');
        expect(name).toMatch(/^[^.\s].*\.[a-z0-9]{1,8}$/isu);
        expect(name).not.toMatch(/[\u0000-\u001f<>:"/\\|?*\p{Cs}\u202a-\u202e]/u);
        expect(name.length).toBeLessThanOrEqual(205);
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
        expect(safeName(name)).toBe(name);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('a file as base64', () => {
  const read = (base64: string) => readSource({} as SourceReader, { base64 }, {} as MediaOwner);
  const anyBytes = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes));

  test('is read in both alphabets, with and without padding, in lines, and behind a data URL', async () => {
    await fc.assert(
      fc.asyncProperty(anyBytes, async (bytes) => {
        const text = bytes.toString('base64');
        const forms = [text, text.replaceAll('=', ''), bytes.toString('base64url'), text.replace(/.{7}/g, '$&\r\n\t ')];
        for (const form of forms)
          for (const given of [form, `data:image/png;base64,${form}`])
            expect((await (await read(given)).bytes.whole()).equals(bytes)).toBe(true);
      }),
    );
  });

  test('is refused with a character that is not base64, wherever it is, and joined with another one', async () => {
    const strange = fc.constantFrom('!', '%', '\0', '\u00a0', '\u00e9', '\u0141', '\u2028', '\ud83d\ude00', '\ud800');
    await fc.assert(
      fc.asyncProperty(anyBytes, strange, fc.double({ min: 0, max: 1, noNaN: true }), async (bytes, character, place) => {
        const text = bytes.toString('base64');
        const at = Math.floor(place * (text.indexOf('=') < 0 ? text.length : text.indexOf('=')));
        for (const given of [text.slice(0, at) + character + text.slice(at), text.slice(0, at) + character + text.slice(at + 1)])
          await expect(read(given)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
        if (text.endsWith('=')) await expect(read(`${text}QUJD`)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
      }),
    );
  });

  test('may be as long as the longest file', async () => {
    const text = 'A'.repeat(140_000_000);
    expect((await read(text)).bytes.size).toBe(105_000_000);
    await expect(read(`${text.slice(0, -1)}!`)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });
});
