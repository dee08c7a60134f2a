import { foldText } from '@chasqui/shared';

/** Only the first characters of a text are indexed. WhatsApp's own limit for a text is 65,536. */
const maxIndexed = 65_536;
/** A search asks for at most this many grams of a term; more would not narrow its result. */
const maxQueryGrams = 16;

/** A number for a gram or a fact. Two that share a number cost one more comparison with a row, and change no result. */
export function hashOf(gram: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < gram.length; index += 1) hash = Math.imul(hash ^ gram.charCodeAt(index), 0x01000193);
  // Signed 32 bits, which both databases store in an integer.
  return hash ^ (hash >>> 15);
}

/**
 * Returns the grams of a text: every one, two and three characters in a row. A word of Chinese, Japanese, Korean or Thai is often no longer, and
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

/** Returns grams that a text must have to contain the folded term: at least one. */
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
