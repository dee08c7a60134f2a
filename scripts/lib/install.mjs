import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { aptInstall, findOnPath, mayUseApt, npmCommand, runCommand } from './command.mjs';
import { fingerprint, stamp } from './fingerprint.mjs';
import { cacheDir, packages, root } from './paths.mjs';
import { withSetupLock } from './setup-lock.mjs';
import { Problem, say, step, tail } from './terminal.mjs';

/** What the installed packages depend on. A native module fits one ABI of Node, so another Node means another install. */
export function installFingerprint(base = root, abi = process.versions.modules) {
  const files = ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json', ...packages.map((name) => `${name}/package.json`)];
  return fingerprint(
    base,
    files.map((file) => join(base, file)),
    { abi, platform: process.platform, arch: process.arch },
  );
}

/** Installs the packages as the lockfile has them, unless that was already done. Returns whether it installed anything. */
export async function install() {
  const done = stamp(join(cacheDir, 'stamps/install'));
  const value = installFingerprint();
  const isDone = () => done.matches(value) && existsSync(join(root, 'node_modules/.modules.yaml'));
  if (isDone()) return false;
  return withSetupLock(async ({ note }) => {
    // Another command may have installed them meanwhile.
    if (isDone()) return false;
    done.forget();
    const pnpm = await getPnpm();
    await step('Installing packages from the lockfile', (tell) => installPackages(pnpm, tell, note));
    done.write(value);
    return true;
  });
}

/** Leaves only what `service` needs at run time. The store that the install filled has everything, so nothing is fetched. */
export async function installForProduction(service) {
  const [command, ...pnpm] = await getPnpm();
  // pnpm would not delete folders that it no longer links.
  for (const name of ['.', ...packages]) rmSync(join(root, name, 'node_modules'), { recursive: true, force: true });
  const only = ['--prod', '--filter', `@chasqui/${service}...`];
  const result = await step(`Keeping the packages that ${service} needs`, () =>
    runCommand(command, [...pnpm, 'install', '--frozen-lockfile', '--prefer-offline', ...only], {
      cwd: root,
      env: installEnvironment(),
      timeoutMs: 10 * 60_000,
    }),
  );
  stamp(join(cacheDir, 'stamps/install')).forget();
  if (result.code !== 0) throw installProblem(result);
}

/** The pinned pnpm, inside the repository: nothing global is touched, and the version is always the one that wrote the lockfile. */
async function getPnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const version = /^pnpm@([^+]+)/.exec(packageManager)[1];
  const tools = join(cacheDir, 'tools');
  const home = join(tools, 'node_modules/pnpm');
  const installed = () =>
    existsSync(join(home, 'package.json')) && JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')).version;
  if (installed() !== version) {
    await step(`Getting pnpm ${version}`, async () => {
      const [command, ...npm] = npmCommand();
      // A package.json makes it npm's project. `--prefix` would do the same, but would also look for the machine-wide npmrc (its registry,
      // proxy or CA) below that folder.
      mkdirSync(tools, { recursive: true });
      writeFileSync(join(tools, 'package.json'), '{ "private": true }\n');
      const result = await runCommand(command, [...npm, 'install', '--no-save', '--no-audit', '--no-fund', `pnpm@${version}`], {
        cwd: tools,
        env: withoutNpmSettings(),
        timeoutMs: 5 * 60_000,
      });
      if (result.code !== 0 || installed() !== version) {
        throw new Problem(
          `pnpm ${version} could not be fetched with npm:\n${tail(result.output)}`,
          'Check that this machine reaches the npm registry (npm ping; behind a proxy: npm config set proxy …), then run the same command again.',
        );
      }
    });
  }
  return [process.execPath, join(home, 'bin/pnpm.cjs')];
}

/** A line of the compiler says nothing to the person who waits. */
const compiles = (line) =>
  /\b(gyp|CC|CXX|COPY|TOUCH|AR|SOLINK_MODULE|make)\b.*(\(target\)|gyp|sqlite|Release)|node-gyp/.test(line);

async function installPackages(pnpm, tell, note) {
  const [command, ...first] = pnpm;
  const run = (args) =>
    runCommand(command, [...first, ...args], {
      cwd: root,
      env: installEnvironment(),
      timeoutMs: 20 * 60_000,
      onLine: (line) => tell(compiles(line) ? 'compiling SQLite, once: about two minutes' : line),
      onSpawn: note,
    });
  const installAll = () => run(['install', '--frozen-lockfile', '--prod=false', '--reporter=append-only']);

  let result = await installAll();
  if (result.code !== 0 && (await getBuildTools(result.output, tell))) result = await installAll();
  if (result.code !== 0) throw installProblem(result);

  // Node has changed since the last install: pnpm finds every package in place, but the binary does not fit.
  const load = () =>
    runCommand(process.execPath, ['-e', "new (require('better-sqlite3'))(':memory:')"], { cwd: join(root, 'backend') });
  let loaded = await load();
  if (loaded.code === 0) return;
  result = await run(['rebuild', '--recursive', 'better-sqlite3']);
  if (result.code !== 0 && (await getBuildTools(result.output, tell)))
    result = await run(['rebuild', '--recursive', 'better-sqlite3']);
  loaded = await load();
  if (loaded.code !== 0) throw installProblem({ ...result, output: `${result.output}\n${loaded.output}` });
}

/** NODE_ENV=production would leave out what the build needs; CI keeps pnpm from asking questions, which a script cannot answer. */
function installEnvironment() {
  const env = { ...withoutNpmSettings(), CI: 'true' };
  delete env.NODE_ENV;
  const headers = nodeHeadersPrefix();
  if (headers) env.npm_config_nodedir = headers;
  return env;
}

/** What npm tells a script about the package it runs in would be read as settings by the npm or pnpm that we start. */
function withoutNpmSettings() {
  const ours =
    /^npm_(package|lifecycle|command|execpath|node_execpath|config_(local_prefix|prefix|user_agent|global_prefix|init_module|node_gyp))/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}

/** `<prefix>` when this Node's own headers lie beside it, so that compiling needs no download; null otherwise. */
export function nodeHeadersPrefix(execPath = process.execPath, version = process.versions.node) {
  const prefix = dirname(dirname(execPath));
  const file = join(prefix, 'include/node/node_version.h');
  if (!existsSync(file)) return null;
  const text = readFileSync(file, 'utf8');
  const part = (name) => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1];
  return [part('MAJOR'), part('MINOR'), part('PATCH')].join('.') === version ? prefix : null;
}

const buildTools = { python3: 'python3', make: 'make', 'g++': 'g++' };
export const missingBuildTools = (find = findOnPath) => Object.keys(buildTools).filter((name) => !find(name));

/** Installs the compiler where we may. True when trying again makes sense. */
async function getBuildTools(output, tell) {
  const missing = process.platform === 'win32' ? [] : missingBuildTools();
  if (missing.length === 0 || !/better-sqlite3|node-gyp/.test(output)) return false;
  if (!mayUseApt()) return false;
  say(`  better-sqlite3 has to be compiled, which needs ${missing.join(', ')}: apt-get installs that now.`);
  const failed = await aptInstall(['python3', 'make', 'g++'], { onLine: tell });
  if (failed)
    throw new Problem(
      `apt-get could not install python3, make and g++:\n${tail(failed)}`,
      'Install them by hand, then run the same command again.',
    );
  return true;
}

function installProblem({ output, timedOut }) {
  const missing = process.platform === 'win32' ? [] : missingBuildTools();
  if (/better-sqlite3|node-gyp/.test(output) && missing.length > 0) {
    const how =
      process.platform === 'darwin'
        ? 'Run: xcode-select --install'
        : `Run: ${findOnPath('apt-get') ? 'sudo apt-get update && sudo apt-get install -y python3 make g++' : 'the package manager of this system for python3, make and g++ (Alpine: apk add python3 make g++; Fedora: dnf install python3 make gcc-c++)'}`;
    return new Problem(
      `better-sqlite3 has no ready-made binary for this machine and could not be compiled for want of ${missing.join(', ')}.\n${tail(output, 8)}`,
      `${how}, then run the same command again.`,
    );
  }
  if (/ERR_PNPM_OUTDATED_LOCKFILE/.test(output)) {
    return new Problem(
      `pnpm-lock.yaml does not fit the package.json files:\n${tail(output, 8)}`,
      `Run: node ${join('.cache', 'tools', 'node_modules', 'pnpm', 'bin', 'pnpm.cjs')} install --no-frozen-lockfile, and commit the lockfile.`,
    );
  }
  return new Problem(
    `${timedOut ? 'The install took more than 20 minutes and was stopped' : 'The packages could not be installed'}:\n${tail(output)}`,
    'Check the network and the free disk space (npm run doctor), then run the same command again.',
  );
}
