import { join } from 'node:path';
import { root } from './paths.mjs';

/** Where the packages keep the programs that `npm test` and the scripts of package.json run. */
const programs = {
  depcruise: 'dependency-cruiser/bin/dependency-cruise.mjs',
  eslint: 'eslint/bin/eslint.js',
  jest: 'jest/bin/jest.js',
  prettier: 'prettier/bin/prettier.cjs',
  tsc: 'typescript/bin/tsc',
};

/** Returns the file of a tool, for Node to run: the links in `node_modules/.bin` are shell scripts on some systems. */
export function toolPath(name) {
  const program = programs[name];
  if (!program) throw new Error(`There is no tool named ${name}. Known: ${Object.keys(programs).join(', ')}.`);
  return join(root, 'node_modules', program);
}
