import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { browserEnvironment, usesSandbox, type BrowserConfig } from './browser.js';
import { bundledBrowser } from './library.js';

/** The last lines that Chromium writes when it has no sandbox (zygote_host_impl_linux.cc, and its check for root). */
const noSandbox = /No usable sandbox|Running as root without --no-sandbox|Failed to move to new namespace/;
const maxOutput = 65_536;
const deadlineMs = 10_000;
/** How long the process and its children may take to end after they were killed. */
const abandonMs = 2_000;

/**
 * Finds out whether Chromium cannot use its sandbox on this machine. Starts the browser once more without a page and reads its standard
 * error, which a start over a pipe does not show. Returns the line that says so, otherwise null. Never rejects.
 */
export async function findSandboxProblem(config: BrowserConfig): Promise<string | null> {
  const executable = usesSandbox(config) ? (config.path ?? bundledBrowser()) : null;
  if (executable === null) return null;
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-sandbox-')).catch(() => null);
  if (dir === null) return null;
  try {
    const output = await standardErrorOf(executable, [
      '--headless',
      '--disable-gpu',
      `--user-data-dir=${dir}`,
      '--dump-dom',
      'about:blank',
    ]);
    return output.split('\n', 200).find((line) => noSandbox.test(line)) ?? null;
  } finally {
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => undefined);
  }
}

/** Runs in its own process group, so that its children end with it. Resolves when the process has ended. Never rejects. */
function standardErrorOf(executable: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(executable, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: browserEnvironment(process.env),
      detached: true,
    });
    let output = '';
    let abandonTimer: NodeJS.Timeout | undefined;
    const end = (): void => {
      clearTimeout(deadline);
      clearTimeout(abandonTimer);
      resolve(output);
    };
    const kill = (): void => {
      // A process that the kernel cannot end now, or a child that keeps the pipe open, must not delay the result.
      abandonTimer ??= setTimeout(end, abandonMs);
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
      if (output.length < maxOutput) output += text.slice(0, maxOutput);
      if (noSandbox.test(output)) kill();
    });
  });
}
