import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browserEnvironment, usesSandbox, type BrowserConfig } from './browser.js';
import { bundledBrowser } from './library.js';

/** The lines with which Chromium ends when it has no sandbox (zygote_host_impl_linux.cc, and its check for root). */
const noSandbox = /No usable sandbox|Running as root without --no-sandbox|Failed to move to new namespace/;
const maxOutput = 65_536;
const deadlineMs = 10_000;
/** How long the process and its children may take to end after they were killed. */
const giveUpMs = 2_000;

/**
 * Whether this machine refuses Chromium its sandbox: the browser is started once more, without a page, and its standard error is read,
 * which a start over a pipe does not show. Returns the line that says so; null when it says something else, or starts. Never rejects.
 */
export async function sandboxTrouble(config: BrowserConfig): Promise<string | null> {
  const executable = usesSandbox(config) ? (config.path ?? bundledBrowser()) : null;
  if (executable === null) return null;
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-sandbox-')).catch(() => null);
  if (dir === null) return null;
  try {
    const said = await standardErrorOf(executable, [
      '--headless',
      '--disable-gpu',
      `--user-data-dir=${dir}`,
      '--dump-dom',
      'about:blank',
    ]);
    return said.split('\n', 200).find((line) => noSandbox.test(line)) ?? null;
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => undefined);
  }
}

/** In a process group of its own, so that its children end with it. Resolves when the process has ended. Never rejects. */
function standardErrorOf(executable: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(executable, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: browserEnvironment(process.env),
      detached: true,
    });
    let said = '';
    let giveUp: NodeJS.Timeout | undefined;
    const end = (): void => {
      clearTimeout(deadline);
      clearTimeout(giveUp);
      resolve(said);
    };
    const kill = (): void => {
      // A process that the kernel cannot end now, or a child that keeps the pipe open, must not hold up the answer.
      giveUp ??= setTimeout(end, giveUpMs);
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended already.
      }
    };
    const deadline = setTimeout(kill, deadlineMs);
    child.on('error', end);
    child.on('exit', kill);
    child.on('close', end);
    child.stderr.on('error', kill);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (said.length < maxOutput) said += text.slice(0, maxOutput);
      if (noSandbox.test(said)) kill();
    });
  });
}
