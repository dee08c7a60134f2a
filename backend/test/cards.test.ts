import { describe, expect, test } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import { cardsOf, type CardInput } from '@chasqui/shared';

/** Contact cards that are sent: made into a card that WhatsApp reads, or refused. */

const card = (lines: string[], end = '\n', version = '3.0'): string =>
  ['BEGIN:VCARD', `VERSION:${version}`, ...lines, 'END:VCARD'].join(end);
const one = (given: CardInput) => cardsOf([given], { countryCode: '55' })[0]!;
const problem = (given: CardInput): unknown => {
  try {
    return one(given);
  } catch (error) {
    return error instanceof AppError ? error.details['fields'] : error;
  }
};

/** As WhatsApp Web finds the name; without one it sends the card's source as a text. */
const nameInPage = (vcard: string): string | undefined => /^FN:(.+)$/m.exec(vcard)?.[1];

describe('a vCard', () => {
  test.each([
    ['as WhatsApp writes it', card(['FN:Jo Silva', 'TEL;type=CELL;waid=5511966660002:+55 11 96666-0002']), 'Jo Silva'],
    ['with CRLF', card(['FN:Jo Silva', 'TEL:+55 11 96666-0002'], '\r\n'), 'Jo Silva'],
    ['of version 4.0', card(['FN:Jo Silva', 'TEL;VALUE=uri:tel:+55-11-96666-0002'], '\r\n', '4.0'), 'Jo Silva'],
    ['grouped', card(['N:Silva;Jo;;;', 'item1.FN:Jo Silva', 'item2.TEL;waid=5511966660002:+5511966660002']), 'Jo Silva'],
    ['in lower case', 'begin:vcard\nversion:3.0\nfn:Jo Silva\ntel:+5511966660002\nend:vcard', 'Jo Silva'],
    ['folded', card(['FN:Jo ', ' Silva', 'TEL:+55 11', '  96666-0002']), 'Jo Silva'],
    ['with a name in a charset', card(['FN;CHARSET=UTF-8:João Silva', 'TEL;CELL:+5511966660002'], '\r\n', '2.1'), 'João Silva'],
    [
      'with a quoted-printable name',
      card(['FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Jo=C3=A3o=', ' Silva'.slice(1), 'TEL:+5511966660002'], '\r\n', '2.1'),
      'JoãoSilva',
    ],
    ['with a name in Latin-1', card(['FN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:Jo=E3o', 'TEL:+5511966660002']), 'João'],
    ['without FN', card(['N:Silva;Jo;;Dr.;', 'TEL:+5511966660002']), 'Dr. Jo Silva'],
    ['of a company', card(['ORG:Acme;Sales', 'TEL:+5511966660002']), 'Acme Sales'],
    ['with signs that are escaped', card(['FN:Silva\\, Jo\\; Dr', 'TEL:+5511966660002']), 'Silva, Jo; Dr'],
    ['with a parameter that holds a colon', card(['FN;X="a:b":Jo', 'TEL:+5511966660002']), 'Jo'],
  ])('%s leaves as a card', (_what, vcard, name) => {
    const made = one({ vcard });
    expect(made).toMatchObject({ name, phone: '+5511966660002' });
    expect(nameInPage(made.vcard)?.replace(/\\([,;\\])/g, '$1')).toBe(name);
    expect(made.vcard).toMatch(/^BEGIN:VCARD\nVERSION:[34]\.0\nFN:/);
    expect(made.vcard).not.toMatch(/CHARSET|QUOTED-PRINTABLE|\r|\n[ \t]/);
    // What was made of it is itself a card, and stays as it is.
    expect(one({ vcard: made.vcard })).toEqual(made);
  });

  test.each([
    ['no name', card(['TEL:+5511966660002']), 'NAME_REQUIRED'],
    ['an empty name', card(['FN: ', 'N:;;;;', 'TEL:+5511966660002']), 'NAME_REQUIRED'],
    ['a TEL that is words', card(['FN:Jo', 'TEL:call us']), 'INVALID_PHONE_NUMBER'],
    ['an empty TEL', card(['FN:Jo', 'TEL:']), 'INVALID_PHONE_NUMBER'],
    ['an empty waid', card(['FN:Jo', 'TEL;type=CELL;waid=:+']), 'INVALID_PHONE_NUMBER'],
    ['a waid that is no number', card(['FN:Jo', 'TEL;waid=0:+5511966660002']), 'INVALID_PHONE_NUMBER'],
    ['a second TEL that is none', card(['FN:Jo', 'TEL:+5511966660002', 'TEL:none']), 'INVALID_PHONE_NUMBER'],
    ['no end', 'BEGIN:VCARD\nFN:Jo', 'INVALID_FORMAT'],
    ['no beginning', 'FN:Jo\nEND:VCARD', 'INVALID_FORMAT'],
    ['two cards', `${card(['FN:Jo'])}\n${card(['FN:Ana'])}`, 'INVALID_FORMAT'],
    ['a line without a colon', card(['FN:Jo', 'what']), 'INVALID_FORMAT'],
    ['nothing', 'BEGIN:VCARD', 'INVALID_FORMAT'],
  ])('with %s is refused, and the field is named', (_what, vcard, code) => {
    expect(problem({ vcard })).toEqual([expect.objectContaining({ path: 'contacts.0.vcard', code })]);
  });
});

describe('a name and a number', () => {
  test('become a card; the number is read like a recipient’s', () => {
    expect(one({ name: 'Jo\r\nTEL:+1', phone: '(0)11 96666-0002' })).toEqual({
      name: 'Jo TEL:+1',
      phone: '+5511966660002',
      vcard: 'BEGIN:VCARD\nVERSION:3.0\nFN:Jo TEL:+1\nTEL;type=CELL;waid=5511966660002:+5511966660002\nEND:VCARD',
    });
  });

  test.each(['call us', '12', '184467440737@lid', '+', '99912345678'])('%s is refused', (phone) => {
    expect(problem({ name: 'Jo', phone })).toEqual([
      expect.objectContaining({ path: 'contacts.0.phone', code: 'INVALID_PHONE_NUMBER' }),
    ]);
  });

  test('each wrong card of several is named', () => {
    const wrong = { name: 'Jo', phone: 'x' };
    const given = [wrong, { name: 'Ana', phone: '+5511966660002' }, { vcard: 'x' }];
    expect(() => cardsOf(given, { countryCode: null })).toThrow(
      expect.objectContaining({
        details: {
          fields: [expect.objectContaining({ path: 'contacts.0.phone' }), expect.objectContaining({ path: 'contacts.2.vcard' })],
        },
      }),
    );
  });
});
