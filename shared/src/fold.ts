/**
 * Returns the form in which two texts are compared by a search: case, normal form (composed or not), compatibility forms (full width, ligatures) and
 * invisible characters do not count. Accents do. Works for every script; nothing depends on a locale.
 *
 * Uses Unicode's full case folding as far as JavaScript's mappings provide it: `ß` and `ẞ` are `ss`, all three sigmas are one, and the Turkish `İ`
 * and `ı` are `i`.
 */
export function foldText(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, '\uFFFD')
    .normalize('NFKD')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKD')
    .replace(/ς/g, 'σ')
    .replace(/i\u0307/g, 'i')
    .replace(/ı/g, 'i');
}

/** The maximum length of a word that `wordOf` compares. */
export const maxWord = 64;

/**
 * Returns the form in which a whole text is compared with a word: case, the number of blanks, and marks at both ends do not count. Empty: the text is
 * longer than any word, or has only marks.
 */
export function wordOf(text: string): string {
  if (text.length > maxWord * 2) return '';
  const marks = /[\s\p{P}\p{S}\p{C}]/u;
  const characters = [...foldText(text)];
  let [start, end] = [0, characters.length];
  while (start < end && marks.test(characters[start]!)) start += 1;
  while (end > start && marks.test(characters[end - 1]!)) end -= 1;
  return characters.slice(start, end).join('').replace(/\s+/g, ' ');
}
