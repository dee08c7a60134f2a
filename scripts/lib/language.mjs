import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { extname, join } from 'node:path';

/**
 * The language check of `npm test`: words and ids that a newcomer cannot know, in tracked text files and in commit subjects. docs/glossary.md
 * has the words to use. Add a folder to `cleanFolders` once it is clean; then the whole list applies to it.
 */

/** Files and folders to which `words` and `names` apply. `everywhere` applies to all files. */
export const cleanFolders = [
  'backend/panel',
  'backend/src/accounts',
  'backend/src/admin',
  'backend/src/audit',
  'backend/src/backups',
  'backend/src/bulk',
  'backend/src/config.ts',
  'backend/src/contacts',
  'backend/src/db',
  'backend/src/events',
  'backend/src/failures',
  'backend/src/http',
  'backend/src/jobs',
  'backend/src/lib',
  'backend/src/main.ts',
  'backend/src/media',
  'backend/src/messages',
  'backend/src/opt-outs',
  'backend/src/options.ts',
  'backend/src/privacy',
  'backend/src/search',
  'backend/src/sessions',
  'backend/src/statistics',
  'backend/src/templates',
  'backend/src/webhooks',
  'backend/src/whatsapp',
  'CHANGELOG.md',
  'CODE_OF_CONDUCT.md',
  'CONTRIBUTING.md',
  'INTEGRATION_GUIDE.md',
  'README.md',
  'SECURITY.md',
  'bench',
  'docker',
  'docs/architecture.md',
  'docs/benchmarks.md',
  'docs/contributing',
  'docs/decisions',
  'docs/failure.md',
  'docs/testing.md',
  'docs/webhooks.md',
  'examples',
  'scripts',
  'shared',
  'simulator',
  'whatsapp-service',
];

/** These files name the words that they forbid. */
const exempt = new Set([
  'docs/glossary.md',
  'scripts/lib/language.mjs',
  'scripts/test/language.test.mjs',
  'backend/src/db/migrations/1763700900000-limits.ts',
]);

const textTypes = new Set([
  '.ts',
  '.tsx',
  '.js',
  '.mjs',
  '.cjs',
  '.md',
  '.yml',
  '.conf',
  '.html',
  '.sh',
  '.py',
  '.php',
  '.go',
  '.http',
]);

/** Subjects are checked from the newest tag on; without a tag, those that this commit does not contain. */
const firstCheckedAfter = '43ab172';
const maxSubjectLength = 72;

const documents =
  'ADM|AUT|BLK|CAL|CFG|CHN|CHT|D|DAT|DEP|DOC|EVT|FIG|GRP|HIS|HLT|HON|IDN|JOB|KEY|LIM|LTR|MSG|OBS|PRF|PRV|RTM|SEC|SES|STA|STO|TST|WHK|WRK';

/** @type {{ pattern: RegExp, hint: string }[]} */
const everywhere = [
  { pattern: new RegExp(`\\b(?:${documents})-\\d{2}\\b`), hint: 'state the rule, or link a page of this repository' },
  { pattern: /\bissue \d{1,3}\b/i, hint: 'state the reason; for another project, write its name with #number' },
  {
    pattern: /\b(?:anew|amid|nought|naught|manieth|whence|thereof|lest)\b/i,
    hint: 'write plain English: again, among, zero, from where, so that … not',
  },
];

const words = [
  { pattern: /\bwhoever\b/i, hint: 'name the subject: a caller, a client, a reader' },
  { pattern: /\bnobody(?:['’]s)?\b/i, hint: 'name the subject: no caller, no backend; or "it is unknown"' },
  { pattern: /\bwish(?:es|ed)?\b/i, hint: 'input, request' },
  { pattern: /\b(?:mends?|mending)\b/i, hint: 'patch, repair' },
  // The quoted name is a column's, which only a migration could change.
  { pattern: /\bin doubt\b|\bdoubts?\b|(?<!["'])\bdoubted\b/i, hint: 'uncertain' },
  { pattern: /\bfell silent\b|\bfalls silent\b/i, hint: 'stopped answering' },
];

/** Names of variables, functions and types; the same words are plain English in prose. */
const declared = String.raw`\b(?:const|let|function|interface|type|class)\s+`;
const names = [
  { pattern: new RegExp(`${declared}(?:told|Told)\\b`), hint: 'name what it holds: event, reported' },
  { pattern: new RegExp(`${declared}its\\s*[=:;(]`), hint: 'name what it holds' },
  { pattern: new RegExp(`${declared}together\\b`), hint: 'batchSize' },
  { pattern: new RegExp(`${declared}believed\\w*`), hint: 'cacheTtlMs' },
  { pattern: new RegExp(`${declared}most[A-Z]\\w*`), hint: 'max…' },
  { pattern: new RegExp(`${declared}keptMs\\b`), hint: 'retentionMs' },
  {
    pattern: new RegExp(`${declared}(?:heed|obey|climb|letGo|fateOf)\\b`),
    hint: 'applySettings, reconcile, escalate, release, recoveryFor',
  },
];

const isClean = (path) => cleanFolders.some((one) => path === one || path.startsWith(`${one}/`));

/** Returns `path:line: "match" (hint)` for each forbidden word of one file. */
export function checkText(path, text, isStrict = isClean(path)) {
  if (exempt.has(path)) return [];
  const rules = isStrict ? [...everywhere, ...words, ...names] : everywhere;
  return text.split('\n').flatMap((line, index) =>
    rules
      .map(({ pattern, hint }) => ({ match: pattern.exec(line), hint }))
      .filter(({ match }) => match)
      .map(({ match, hint }) => `${path}:${index + 1}: "${match[0]}" (${hint})`),
  );
}

/** Returns one line for each fault of a commit subject. */
export function checkSubject(commit, subject) {
  const faults = checkText(`commit ${commit}`, subject, true).map((line) => line.replace(/:1: /, ': '));
  if (subject.length > maxSubjectLength)
    faults.push(`commit ${commit}: ${subject.length} characters (at most ${maxSubjectLength})`);
  if (!/^[a-z0-9][\w ,/.-]*: \S/.test(subject)) faults.push(`commit ${commit}: "${subject}" (write "area: what changed")`);
  return faults;
}

function git(root, ...args) {
  const { status, stdout } = spawnSync('git', args, { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return status === 0 ? stdout.trimEnd() : null;
}

/**
 * Checks a working copy. Returns the faults, and the number of files and subjects that were read. `hasHistory` is false for a copy without git or
 * without the first commit to check, such as a downloaded archive or a shallow clone.
 */
export function checkRepository(root, { after = firstCheckedAfter } = {}) {
  const listed = git(root, 'ls-files', '-z');
  const paths = (listed ?? '').split('\0').filter((path) => textTypes.has(extname(path)));
  const faults = [];
  let files = 0;
  for (const path of paths) {
    const text = readText(join(root, path));
    if (text === null) continue;
    files += 1;
    faults.push(...checkText(path, text));
  }
  const from = git(root, 'describe', '--tags', '--abbrev=0') ?? after;
  const log = git(root, 'log', '--no-merges', '--format=%h %s', `${from}..HEAD`);
  const subjects = (log ?? '').split('\n').filter(Boolean);
  for (const line of subjects) {
    const at = line.indexOf(' ');
    faults.push(...checkSubject(line.slice(0, at), line.slice(at + 1)));
  }
  return { faults, files, subjects: subjects.length, isRepository: listed !== null, hasHistory: log !== null };
}

/** Null for a file that was deleted and is still in the index. */
function readText(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    throw error;
  }
}
