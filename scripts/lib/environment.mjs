import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './paths.mjs';
import { Problem } from './terminal.mjs';

/**
 * Parses the text of a `.env` file. A line is `NAME=value`, with or without `export`; `#` begins a comment at the start of a line
 * or after white space. 'Single quotes' keep everything as it is, "double quotes" know \n, \r, \t, \" and \\, both may span lines.
 * Nothing is expanded: a `$` in a password stays a `$`. Any other line is reported, not skipped.
 */
export function parseEnv(text, fileName = '.env') {
  const values = {};
  const source = text.replace(/^\uFEFF/, '').replace(/\r\n?/g, '\n');
  const line =
    // eslint-disable-next-line regexp/no-super-linear-backtracking -- It reads the operator's own file.
    /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(?:'([^']*)'|"((?:\\[^]|[^"\\])*)"|([^'"\n][^\n]*|))?[ \t]*(#[^\n]*)?$/;
  let at = 0;
  let number = 1;
  while (at < source.length) {
    const endOfLine = source.indexOf('\n', at);
    let end = endOfLine === -1 ? source.length : endOfLine;
    let piece = source.slice(at, end);
    if (!/^[ \t]*(#|$)/.test(piece)) {
      let match = line.exec(piece);
      // A quoted value may continue on the following lines.
      while (!match && end < source.length && /=[ \t]*["']/.test(piece)) {
        const next = source.indexOf('\n', end + 1);
        end = next === -1 ? source.length : next;
        piece = source.slice(at, end);
        match = line.exec(piece);
      }
      if (!match) {
        throw new Problem(
          `${fileName}, line ${number}: this is neither NAME=value nor a comment, or a quote is not closed.`,
          `Correct that line of ${fileName}; .env.example shows how the lines look.`,
        );
      }
      const [, name, single, double, bare] = match;
      values[name] = single ?? (double === undefined ? bareValue(bare ?? '') : unescape(double));
    }
    number += piece.split('\n').length;
    at = end + 1;
  }
  return values;
}

// eslint-disable-next-line regexp/no-super-linear-move -- It reads the operator's own file.
const bareValue = (text) => text.replace(/(^|[ \t]+)#.*$/, '').trim();
const unescape = (text) =>
  text.replace(/\\([^])/g, (all, mark) => ({ n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' })[mark] ?? all);

/** The environment with what `.env` adds to it. What the environment already has, wins; so does an empty value there. */
export function readEnvironment(env = process.env, file = envFile) {
  return { ...readEnvFile(file), ...env };
}

const envFile = join(root, '.env');

/** The values of `.env`; none when there is no such file. */
export function readEnvFile(file = envFile) {
  if (!existsSync(file)) return {};
  let bytes;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Problem(`${file} cannot be read: ${error.message}`, 'Make it a text file that this user may read, or remove it.');
  }
  const text = bytes.toString('utf8');
  // Editors of Windows may save UTF-16. An environment cannot hold U+0000, and a password with U+FFFD in it is another password.
  if (/[\0\uFFFD]/.test(text))
    throw new Problem(`${file} is not UTF-8 text.`, 'Save it as UTF-8, then run the same command again.');
  return parseEnv(text);
}

/** Returns the absolute path of the data folder. A relative DATA_DIR counts from the repository, not from the current folder. */
export const dataDirOf = (env) => resolve(root, env.DATA_DIR || './data');

/** The one table of settings; only after the build. */
export const loadSettings = () => import(pathToFileURL(join(root, 'shared/dist/index.js')).href);
