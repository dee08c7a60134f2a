import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/**
 * Runs a program to its end. Never throws for a non-zero code: the caller knows what it means.
 * `onLine` sees each line as it comes; with `inherit` the output goes straight to the terminal instead.
 * After `timeoutMs` the program is killed, and `timedOut` is true. No shell: arguments are passed as they are.
 */
export function runCommand(command, args, { cwd, env = process.env, timeoutMs, onLine, inherit = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env,
      stdio: ['ignore', inherit ? 'inherit' : 'pipe', inherit ? 'inherit' : 'pipe'],
    });
    let output = '';
    let timedOut = false;
    const timer = timeoutMs
      ? setTimeout(() => {
          timedOut = true;
          child.kill('SIGKILL');
        }, timeoutMs)
      : undefined;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        output += text;
        const last = text.split('\n').findLast((line) => line.trim());
        if (last && onLine) onLine(last.trim());
      });
    }
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ code: -1, output: `${output}${error.message}\n`, timedOut });
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, output, timedOut, signal });
    });
  });
}

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
