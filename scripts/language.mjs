import './lib/node-version.mjs';
import { checkRepository } from './lib/language.mjs';
import { root } from './lib/paths.mjs';
import { say } from './lib/terminal.mjs';

/** Prints each forbidden word and each malformed commit subject. Exit code 1 if there is one. Without git there is nothing to list: 0. */
const { faults, files, subjects, isRepository, hasHistory } = checkRepository(root);
for (const fault of faults) say(fault);
if (!isRepository) say('This is not a git working copy; the language check read nothing.');
else if (!hasHistory) say(`${files} files were checked; the history that holds the commit subjects is not here.`);
if (faults.length > 0) {
  say(`${faults.length} faults in ${files} files and ${subjects} commit subjects. docs/glossary.md has the words to use.`);
  process.exitCode = 1;
}
