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
