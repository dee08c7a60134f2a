import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** A command that says nothing of its own time limit must end within this. */
const defaultTimeoutMs = 2 * 60_000;
/** How long a command may take to end after SIGTERM, before SIGKILL. */
const endMs = 5_000;
/** How long output is still read after a command's end: a process that it left behind may hold the pipe for ever. */
const lastOutputMs = 2_000;
/** Only the end of a long output is kept. */
const maxOutputChars = 1024 * 1024;

const running = new Set();
/** Kills what still runs and ends this script as the signal would have. */
function endAll(signal) {
  const number = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }[signal];
  for (const command of running) command.end();
  setTimeout(() => process.exit(128 + number), endMs + 1000);
  const look = () => (running.size === 0 ? process.exit(128 + number) : setTimeout(look, 20));
  look();
}

/**
 * Runs a program to its end. Never throws for a non-zero code: the caller knows what it means.
 * `onLine` gets each line as it comes; with `inherit` the output goes straight to the terminal instead, and there is no time limit.
 * After `timeoutMs` the program is ended together with what it has started, and `timedOut` is true. The same happens when this script
 * gets a signal: an install that continued alone would collide with the next one. `onSpawn` gets the process id.
 * No shell: arguments are passed as they are.
 */
export function runCommand(
  command,
  args,
  { cwd, env = process.env, inherit = false, timeoutMs = inherit ? null : defaultTimeoutMs, onLine, onSpawn } = {},
) {
  return new Promise((resolve) => {
    // A process group of its own reaches grandchildren too (compilers, downloads). Windows has none.
    const isGroup = !inherit && process.platform !== 'win32';
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', inherit ? 'inherit' : 'pipe', inherit ? 'inherit' : 'pipe'],
      detached: isGroup,
    });
    let output = '';
    let timedOut = false;
    const timers = [];
    const kill = (signal) => {
      try {
        if (isGroup && child.pid !== undefined) process.kill(-child.pid, signal);
        else child.kill(signal);
      } catch {
        // The whole process group has ended.
      }
    };
    let isEnding = false;
    const end = () => {
      isEnding = true;
      kill('SIGTERM');
      timers.push(setTimeout(kill, endMs, 'SIGKILL'));
    };
    const entry = { end };
    let isSettled = false;
    const settle = (result) => {
      if (isSettled) return;
      isSettled = true;
      for (const timer of timers) clearTimeout(timer);
      for (const stream of [child.stdout, child.stderr]) stream?.destroy();
      if (isEnding) kill('SIGKILL');
      running.delete(entry);
      if (running.size === 0) for (const signal of stopSignals) process.off(signal, endAll);
      resolve({ output, timedOut, ...result });
    };
    if (running.size === 0) for (const signal of stopSignals) process.on(signal, endAll);
    running.add(entry);
    if (timeoutMs) {
      timers.push(
        setTimeout(() => {
          timedOut = true;
          end();
        }, timeoutMs),
      );
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('error', () => undefined);
      stream?.setEncoding('utf8').on('data', (text) => {
        output = (output + text).slice(-maxOutputChars);
        const last = text.split('\n').findLast((line) => line.trim());
        if (last && onLine) onLine(last.trim());
      });
    }
    child.on('error', (error) => {
      output += `${error.message}\n`;
      settle({ code: -1 });
    });
    child.on('exit', (code, signal) => timers.push(setTimeout(settle, lastOutputMs, { code: code ?? -1, signal })));
    child.on('close', (code, signal) => settle({ code: code ?? -1, signal }));
    if (child.pid !== undefined) onSpawn?.(child.pid);
  });
}

const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** The path of a program that is on PATH, or null. */
export function findOnPath(name, { env = process.env, platform = process.platform } = {}) {
  const endings = platform === 'win32' ? ['.exe', '.cmd', ''] : [''];
  for (const folder of (env.PATH ?? env.Path ?? '').split(delimiter).filter(Boolean)) {
    for (const ending of endings) {
      const file = join(folder, name + ending);
      if (isExecutable(file)) return file;
    }
  }
  return null;
}

export function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Command and arguments that start npm. `npm` itself is a shell script on Windows, which cannot be started without a shell,
 * so its JavaScript is preferred: the one that runs us, else the one that came with this Node.
 */
export function npmCommand(env = process.env) {
  const besideNode = dirname(process.execPath);
  const found = [
    env.npm_execpath?.endsWith('npm-cli.js') ? env.npm_execpath : null,
    join(besideNode, '../lib/node_modules/npm/bin/npm-cli.js'),
    join(besideNode, 'node_modules/npm/bin/npm-cli.js'),
  ].find((file) => file && existsSync(file));
  return found ? [process.execPath, found] : ['npm'];
}

export const isRoot = () => process.getuid?.() === 0;

/** Installs Debian or Ubuntu packages; the output of what failed, or null when all is well. */
export async function aptInstall(names, { onLine } = {}) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const options = { env, onLine, timeoutMs: 15 * 60_000 };
  const update = await runCommand('apt-get', ['update'], options);
  const install = await runCommand('apt-get', ['install', '-y', '--no-install-recommends', ...names], options);
  return install.code === 0 ? null : `${update.code === 0 ? '' : update.output}${install.output}`;
}

/** Whether this is a machine on which `aptInstall` may be tried. */
export const mayUseApt = () => process.platform === 'linux' && isRoot() && findOnPath('apt-get') !== null;
