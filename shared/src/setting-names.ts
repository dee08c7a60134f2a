import { isCloseName } from './close-names.js';
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
      return { name, meant: same ?? known.find((candidate) => isCloseName(letters(name), letters(candidate))) ?? null };
    });
}

const letters = (name: string): string => name.toUpperCase().replace(/[^A-Z0-9]/g, '');
