/**
 * Whether two names differ in at most one letter of six, or in the order of two neighbours. In short names one letter makes another word, such as HOST
 * and POST.
 */
export function isCloseName(a: string, b: string): boolean {
  if (isSwapped(a, b)) return true;
  const allowed = Math.min(2, Math.floor(Math.min(a.length, b.length) / 6));
  return Math.abs(a.length - b.length) <= allowed && distance(a, b) <= allowed;
}

/** Whether two neighbouring letters of one name, and nothing else, stand in the other order in the other name. */
function isSwapped(a: string, b: string): boolean {
  const at = [...a].findIndex((letter, index) => letter !== b[index]);
  return at !== -1 && b === a.slice(0, at) + (a[at + 1] ?? '') + a[at]! + a.slice(at + 2);
}

/** Returns how many letters must be inserted, removed or replaced to turn one name into the other (Levenshtein distance). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}
