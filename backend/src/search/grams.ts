import { foldText } from '@chasqui/shared';

/** How many characters of a text are indexed: WhatsApp's own limit for a text. */
const maxIndexed = 65_536;
/** A search uses at most this many grams of a term. More would hardly narrow its result. */
const maxQueryGrams = 16;

/** Returns the number of a gram or a fact. If two have the same number, a search compares more rows and returns the same result. */
export function hashOf(gram: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < gram.length; index += 1) hash = Math.imul(hash ^ gram.charCodeAt(index), 0x01000193);
  // Signed 32 bits, which both databases store in an integer.
  return hash ^ (hash >>> 15);
}

/**
 * Returns the grams of a text: each sequence of one, two or three characters. A word of Chinese, Japanese, Korean or Thai is often that short, and
 * blanks do not separate words there.
 */
export function gramsOf(text: string): Set<number> {
  const letters = [...foldText(text.slice(0, maxIndexed))];
  const grams = new Set<number>();
  for (const [index, letter] of letters.entries()) {
    const next = letters[index + 1];
    const third = letters[index + 2];
    grams.add(hashOf(letter));
    if (next === undefined) continue;
    grams.add(hashOf(letter + next));
    if (third !== undefined) grams.add(hashOf(letter + next + third));
  }
  return grams;
}

/** Returns at least one and at most `maxQueryGrams` of the grams that every text with the folded term has. */
export function gramsIn(folded: string): number[] {
  const letters = [...folded];
  if (letters.length < 3) return [hashOf(folded)];
  const last = letters.length - 3;
  const step = Math.max(1, last / (maxQueryGrams - 1));
  const grams = new Set<number>();
  for (let at = 0; at < last; at += step) grams.add(hashOf(letters.slice(Math.floor(at), Math.floor(at) + 3).join('')));
  grams.add(hashOf(letters.slice(last).join('')));
  return [...grams];
}
