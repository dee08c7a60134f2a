import { settings, type Setting } from './settings.js';

/**
 * Finds names that are not settings. `meant` is the setting that a name looks like: the same letters in another case or with other separators, or
 * up to two letters wrong. Null if it resembles none.
 */
export function unknownSettings(names: readonly string[]): { name: string; meant: string | null }[] {
  const known = Object.entries<Setting>(settings).flatMap(([name, { aliases = [] }]) => [name, ...aliases]);
  return names
    .filter((name) => !known.includes(name))
    .map((name) => {
      const same = known.find((candidate) => letters(candidate) === letters(name));
      return { name, meant: same ?? known.find((candidate) => isClose(letters(name), letters(candidate))) ?? null };
    });
}

const letters = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9]/g, '');

/** Whether two names differ in at most one letter of six. In short names one letter makes another word, such as HOST and POST. */
function isClose(a: string, b: string): boolean {
  const allowed = Math.min(2, Math.floor(Math.min(a.length, b.length) / 6));
  return Math.abs(a.length - b.length) <= allowed && distance(a, b) <= allowed;
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
