import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readText } from './source.js';

/** The `curl` commands of a document, as a shell reads them. */

export interface CurlCommand {
  method: string;
  url: URL;
  /** By their names in lower case. */
  headers: Record<string, string>;
  /** The text of `-d`. Null: there is none. A text that begins with `@` names a file. */
  data: string | null;
  /** The parts of a form (`-F`). A value that begins with `@` names a file. */
  parts: { name: string; value: string }[];
}

/** Every variable that the documents use. */
const variables: Record<string, string> = {
  CHASQUI: 'http://localhost:8000/api/v1',
  KEY: 'chq_key',
  METRICS_TOKEN: 'token',
  CURSOR: '00000000018422',
  ...Object.fromEntries(['ID', 'EVENT', 'JOB', 'SCHEDULE', 'SESSION', 'TEMPLATE'].map((name) => [name, name.toLowerCase()])),
};

/** Returns the commands of all `bash` blocks of a document. */
export const curlCommands = (document: string): CurlCommand[] =>
  commandsIn([...readText(document).matchAll(/^```bash\n(.*?)^```/gms)].map(([, text]) => text!));

/** Returns the commands of texts for a shell. Needs a shell; nothing is called but functions that note their arguments. */
export function commandsIn(blocks: readonly string[]): CurlCommand[] {
  const folder = mkdtempSync(join(tmpdir(), 'chasqui-commands-'));
  const noted = join(folder, 'noted');
  const script = [
    // No program of the machine runs.
    "set -u; PATH=''",
    `curl() { printf '%s\\0' "$@" >> ${noted}; printf '\\n\\0' >> ${noted}; }`,
    'npm() { :; }; docker() { :; }; grep() { :; }',
    ...blocks.filter((text) => text.includes('curl ')),
  ].join('\n');
  try {
    execFileSync('sh', ['-c', script], {
      cwd: folder,
      env: { ...process.env, ...variables },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const calls = readFileSync(noted, 'utf8').split('\n\0').slice(0, -1);
    return calls.map((call) => parse(call.split('\0').slice(0, -1)));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function parse(args: readonly string[]): CurlCommand {
  const command = {
    method: '',
    url: '',
    data: null as string | null,
    headers: {} as Record<string, string>,
    parts: [] as CurlCommand['parts'],
  };
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at]!;
    const value = (): string => args[(at += 1)]!;
    if (/^-s?N?X$/.test(arg)) command.method = value();
    else if (arg === '-H') {
      const [, name, text] = /^([^:]+): (.*)$/s.exec(value())!;
      command.headers[name!.toLowerCase()] = text!;
    } else if (arg === '-d' || arg === '--data-binary') command.data = value();
    else if (arg === '-F') {
      const [, name, text] = /^([^=]+)=(.*)$/s.exec(value())!;
      command.parts.push({ name: name!, value: text! });
    } else if (arg === '-o') value();
    else if (arg.startsWith('-')) {
      if (!/^-[sN]+$/.test(arg)) throw new Error(`The option ${arg} of curl is not known here.`);
    } else command.url = arg;
  }
  const sends = command.data !== null || command.parts.length > 0;
  const url = new URL(command.url.includes('://') ? command.url : `http://${command.url}`);
  return { ...command, url, method: command.method || (sends ? 'POST' : 'GET') };
}
