import type { SelectedOption } from './text.js';

/**
 * Lists and buttons as text. WhatsApp no longer delivers either from WhatsApp Web, so they are sent as a text with numbered options, and an
 * answer chooses an option by its number or by its title.
 */

export interface Option {
  id: string;
  title: string;
  description?: string | null | undefined;
}

/** A group of options; `title` null: a group without a heading. */
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

/** The text of an offer. Options are numbered from 1 through all groups. */
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

/** WhatsApp shows text between stars in bold. A star in the text would end it early. */
const bold = (text: string): string => (text.includes('*') ? text : `*${text}*`);

/** Longer answers are no choice. */
const maxAnswer = 200;

/** The option that a text chooses: its number, its title, or both as they are shown. Null: none, or more than one. */
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
