import { validationError, wordOf, type FieldError } from '@chasqui/shared';

/** Finds and checks the keywords with which people opt out and in. Pure functions. */

/** The keywords of one language, and the texts that answer them. A text is null if none is sent. */
export interface KeywordSet {
  out: string[];
  in: string[];
  replyOut: string | null;
  replyIn: string | null;
}

/** The keywords of an account. `languages`: further words with answers of their own, by BCP 47 name. All words apply at once. */
export interface Keywords extends KeywordSet {
  languages: Record<string, KeywordSet>;
}

const unanswered = { replyOut: null, replyIn: null };

export const defaultKeywords: Keywords = { out: ['STOP', 'UNSUBSCRIBE'], in: ['START'], ...unanswered, languages: {} };

/** A keyword that a message consists of. */
export interface KeywordMatch {
  /** As the account writes it. */
  keyword: string;
  state: 'out' | 'in';
  reply: string | null;
}

/** Returns the keyword that a message consists of; null if it is another text. */
export function matchKeyword(keywords: Keywords, text: string): KeywordMatch | null {
  const word = wordOf(text);
  if (word === '') return null;
  for (const set of [keywords, ...Object.values(keywords.languages)])
    for (const state of ['out', 'in'] as const) {
      const keyword = set[state].find((one) => wordOf(one) === word);
      const reply = state === 'out' ? set.replyOut : set.replyIn;
      if (keyword !== undefined) return { keyword, state, reply };
    }
  return null;
}

/** Throws `VALIDATION_FAILED` for a word without letters and digits, and for one that opts out and in. */
export function checkKeywords(keywords: Keywords): void {
  const errors: FieldError[] = [];
  const states = new Map<string, 'out' | 'in'>();
  const sets = [
    ['', keywords] as const,
    ...Object.entries(keywords.languages).map(([name, set]) => [`languages.${name}.`, set] as const),
  ];
  for (const [prefix, set] of sets)
    for (const state of ['out', 'in'] as const)
      for (const [index, keyword] of set[state].entries()) {
        const word = wordOf(keyword);
        const path = `${prefix}${state}.${index}`;
        const isOther = (states.get(word) ?? state) !== state;
        if (word === '') errors.push({ path, code: 'INVALID_FORMAT', message: 'A keyword needs a letter or a digit.' });
        else if (isOther)
          errors.push({ path, code: 'AMBIGUOUS', message: `${keyword} opts out and in. Use it for one of the two.` });
        else states.set(word, state);
      }
  if (errors.length > 0) throw validationError(errors);
}

/** Returns all words, as `wordOf` writes them. */
export const wordsIn = (keywords: Keywords): string[] =>
  [keywords, ...Object.values(keywords.languages)].flatMap((set) => [...set.out, ...set.in]).map(wordOf);
