import type { SelectedOption } from './text.js';

/**
 * Renders lists and buttons as text, and reads the answers. WhatsApp no longer delivers lists and buttons that WhatsApp Web sends, so they are sent
 * as a text with numbered options. An answer chooses an option by its number or by its title.
 */

export interface Option {
  id: string;
  title: string;
  description?: string | null | undefined;
}

/** A group of options. `title` is null for a group without a heading. */
export interface OptionGroup {
  title: string | null;
  options: readonly Option[];
}

interface Offer {
  title: string | null;
  message: string;
  /** The line above the options. */
  prompt: string | null;
  groups: readonly OptionGroup[];
  footer: string | null;
}

/** Returns the text of an offer. The numbers of the options start at 1 and continue through all groups. */
export function offerText({ title, message, prompt, groups, footer }: Offer): string {
  let number = 0;
  const paragraphs = groups.map(({ title: heading, options }) =>
    [
      ...(heading ? [bold(heading)] : []),
      ...options.map(({ title: label, description }) => {
        number += 1;
        return description ? `${number}. ${label}\n    ${description}` : `${number}. ${label}`;
      }),
    ].join('\n'),
  );
  return [title && bold(title), message, prompt, ...paragraphs, footer && `_${footer}_`].filter(Boolean).join('\n\n');
}

/** WhatsApp shows text between asterisks in bold. Text that contains an asterisk stays plain: the asterisk would end the bold part. */
const bold = (text: string): string => (text.includes('*') ? text : `*${text}*`);

/** The maximum length of an answer, in UTF-16 units. A longer text chooses no option. */
const maxAnswer = 200;

/** Returns the option that a text chooses by its number, its title, or both as they are shown. Null: no option, or more than one. */
export function chosenOption(options: readonly Option[], text: string): SelectedOption | null {
  if (text.length > maxAnswer) return null;
  const answer = comparable(text);
  const titled = options.filter(({ title }) => comparable(title) === answer);
  const numbered = /^(\d{1,3})(?: ?[.):])?(?: (.+))?$/.exec(answer);
  const byNumber = numbered ? options[Number(numbered[1]) - 1] : undefined;
  const isNamed = numbered?.[2] === undefined || (byNumber && comparable(byNumber.title) === numbered[2]);
  const [only, another] = titled.length > 0 ? titled : byNumber && isNamed ? [byNumber] : [];
  return only && !another ? { id: only.id, title: only.title } : null;
}

const comparable = (text: string): string => text.normalize('NFKC').replaceAll(/\s+/g, ' ').trim().toLowerCase();
