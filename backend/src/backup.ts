import { newId, readSettings, SettingsError } from '@chasqui/shared';
import { armFailPoints } from '@chasqui/shared/fail-point';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { newBackupKey, readBackupKey } from './backups/archive/key.js';
import { parts as allParts, type BackupContents, type BackupPart } from './backups/archive/members.js';
import { drop, readArchive } from './backups/archive/reader.js';
import { makeBackup } from './backups/make.js';
import { BackupProblem, busyExitCode } from './backups/problem.js';
import { restoreBackup } from './backups/restore.js';
import { readConfig } from './config.js';
import { openDatabase } from './db/database.js';
import { systemClock } from './lib/clock.js';
import { StartProblem } from './lib/start-problem.js';

/**
 * `node dist/backup.js create|verify|restore|new-key`: makes, checks and restores backups, in a process of its own. Reads the same settings as the
 * backend, which may run while a backup is made. Started by `npm run backup` and `npm run restore`, by `container.mjs`, and by a backend (backups.ts).
 */
armFailPoints(process.env['CHASQUI_FAIL_POINTS']);
process.umask(0o077);
// The reader of the output may be gone; the backup is made all the same.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const mb = (bytes: number | null): string => `${((bytes ?? 0) / 1_048_576).toFixed(1)} MB`;

function sayContents({ messages, sessions, media, workers, missingLogins }: BackupContents): void {
  const logins = Object.values(workers).flatMap((worker) => Object.values(worker.logins));
  say(`  ${messages} messages, ${sessions} sessions, ${logins.length} logins, ${media.files} files (${mb(media.bytes)})`);
  for (const { sessionId, reason } of missingLogins)
    say(
      `  Session ${sessionId}: its login is missing (${reason === 'NO_COPY' ? 'there is no copy of it yet' : 'its worker did not answer'}). After a restore it shows a code.`,
    );
}

function partsOf(text: string | undefined): BackupPart[] {
  if (text === undefined) return [...allParts];
  const wanted = text.split(',').map((part) => part.trim());
  const unknown = wanted.find((part) => !allParts.some((known) => known === part));
  if (unknown !== undefined) throw new BackupProblem('FAILED', `--parts has ${unknown}. Choose from ${allParts.join(', ')}.`);
  return allParts.filter((part) => part === 'database' || wanted.includes(part));
}

async function create(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      id: { type: 'string' },
      to: { type: 'string' },
      parts: { type: 'string' },
      trigger: { type: 'string' },
    },
  });
  const config = readConfig(process.env, process.cwd());
  const trigger = values.trigger === 'manual' || values.trigger === 'schedule' ? values.trigger : 'command';
  const database = await openDatabase(config.database);
  try {
    const request = { id: values.id ?? newId(Date.now()), trigger, parts: partsOf(values.parts) } as const;
    const file = values.to === undefined ? {} : { file: resolve(values.to) };
    const made = await makeBackup(
      { config, database, clock: systemClock, dir: config.backupDir },
      { ...request, parts: [...request.parts], ...file },
    );
    say(`Backup: ${made.file} (${mb(made.size)})`);
    if (made.contents) sayContents(made.contents);
    say(
      made.verified
        ? '  It was read back and is whole.'
        : '  It was not read back, because BACKUP_KEY is a recipient. `npm run backup -- --verify FILE` checks it with the identity.',
    );
  } finally {
    await database.close();
  }
}

async function verify([file]: string[]): Promise<void> {
  if (!file) throw new StartProblem('Name the file: `npm run backup -- --verify FILE`.');
  const { BACKUP_KEY } = readSettings(process.env);
  const { header, contents, members, bytes } = await readArchive(resolve(file), await readBackupKey(BACKUP_KEY), {
    onMember: drop,
  });
  say(
    `The backup is whole: ${members} members, ${mb(bytes)}. Taken at ${header.takenAt} by version ${header.version}, ${header.database}.`,
  );
  sayContents(contents);
}

async function restore(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { moved: { type: 'boolean' }, 'stopped-sessions': { type: 'boolean' }, worker: { type: 'string' } },
  });
  const settings = readSettings(process.env);
  const made = await restoreBackup({
    file: resolve(positionals[0] ?? ''),
    key: await readBackupKey(settings.BACKUP_KEY),
    dataDir: resolve(settings.DATA_DIR),
    databaseUrl: settings.DATABASE_URL,
    encryptionKeys: settings.ENCRYPTION_KEYS,
    mode: values.moved ? 'move' : 'copy',
    startsSessions: !values['stopped-sessions'],
    workerId: values.worker,
  });
  say(`Restored into ${resolve(settings.DATA_DIR)}: the backup of ${made.header.takenAt}.`);
  sayContents(made.contents);
  const workers = Object.keys(made.contents.workers);
  if (made.workerId === null && workers.length > 0)
    say(`  The logins of ${workers.length} workers are not restored yet: see docs/operations/backup.md for --worker.`);
  if (!values.moved)
    say('  What waited to be sent is uncertain after the start: it may have been sent since the backup was taken.');
  say(
    values['stopped-sessions']
      ? '  Sessions stay stopped until somebody starts them.'
      : '  At the next start its sessions connect. The earlier installation must not run any more: WhatsApp lets a login run in one place only.',
  );
}

async function makeKey(): Promise<void> {
  const { identity, recipient } = await newBackupKey();
  say(`BACKUP_KEY=${identity}`);
  say('Store it outside of this machine as well: without it no backup can be opened.');
  say(`Where backups are only written, its public half is enough: BACKUP_KEY=${recipient}`);
}

const commands: Readonly<Record<string, (args: string[]) => Promise<void>>> = { create, verify, restore, 'new-key': makeKey };

/** What the person can correct, in a sentence; null: it is a bug. */
function explain(error: unknown): string | null {
  if (error instanceof StartProblem || error instanceof SettingsError) return error.message;
  const { code, path } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' && path) return `There is no file ${path}.`;
  if (code === 'EISDIR') return 'A folder is named where a file is expected.';
  if ((code === 'EACCES' || code === 'EPERM') && path) return `This user may not read or write ${path}.`;
  if (String(code).startsWith('ERR_PARSE_ARGS')) return (error as Error).message;
  return null;
}

try {
  const [name = '', ...args] = process.argv.slice(2);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command)
    throw new BackupProblem('FAILED', `There is no command ${name}. Choose from ${Object.keys(commands).join(', ')}.`);
  await command(args);
} catch (error) {
  process.stderr.write(`${explain(error) ?? String((error as Error).stack ?? error)}\n`);
  process.exitCode = error instanceof BackupProblem && error.code === 'BACKUP_RUNNING' ? busyExitCode : 1;
}
