import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { fingerprint, listFiles, stamp } from './fingerprint.mjs';
import { cacheDir, packages, root } from './paths.mjs';
import { withSetupLock } from './setup-lock.mjs';
import { Problem, step } from './terminal.mjs';

/**
 * Turns each package's `src/` into `dist/`, file by file, with esbuild: no types are checked (`npm run types` does) and nothing is
 * bundled, so a stack trace names the same files as the source. The panel's browser code is bundled by the backend's own script.
 */

const panelBundler = join(root, 'backend/src/admin/bundle.mjs');
const isTest = (file) => /\.test\.(ts|mjs)$/.test(file);
const isTypeScript = (file) => /\.tsx?$/.test(file) && !file.endsWith('.d.ts');

/** Which files of a package are transpiled, and which are copied unchanged (SQL, HTML, CSS …). */
export function sourcesOf(name, base = root) {
  const files = listFiles(join(base, name, 'src')).filter((file) => !isTest(file));
  return {
    transpiled: files.filter(isTypeScript),
    copied: files.filter((file) => !/\.tsx?$/.test(file) && file !== panelBundler),
  };
}

const stampFile = (name) => stamp(join(cacheDir, 'stamps', `build-${name}`));

/** Sources, versions and this script: when none of it changed, the result would be the same. */
function buildFingerprint(name) {
  const folders = ['src', 'static', 'panel'].map((folder) => join(root, name, folder));
  const files = folders.flatMap((folder) => listFiles(folder)).filter((file) => !isTest(file));
  return fingerprint(root, [...files, join(root, 'pnpm-lock.yaml'), fileURLToPath(import.meta.url)], process.versions.modules);
}

/** Builds the packages that changed, one after the other; the names of those that were built. Packages must be installed. */
export async function build({ force = false, only = packages } = {}) {
  const stale = () =>
    only
      .filter((name) => existsSync(join(root, name, 'src')))
      .map((name) => ({ name, value: buildFingerprint(name) }))
      .filter(({ name, value }) => force || !stampFile(name).matches(value) || !existsSync(join(root, name, 'dist')));
  if (stale().length === 0) return [];
  // Checked again under the lock: another command may have built meanwhile.
  return withSetupLock(() => buildAll(stale()));
}

async function buildAll(waiting) {
  if (waiting.length === 0) return [];
  await step(`Building ${waiting.map(({ name }) => name).join(', ')}`, async (tell) => {
    for (const { name, value } of waiting) {
      tell(name);
      stampFile(name).forget();
      await buildPackage(name);
      if (name === 'backend') await bundlePanel();
      stampFile(name).write(value);
    }
  });
  return waiting.map(({ name }) => name);
}

/** One package, always from scratch; throws a `Problem` with esbuild's own words when a file cannot be understood. */
export async function buildPackage(name) {
  const { transpiled, copied } = sourcesOf(name);
  const source = join(root, name, 'src');
  const target = join(root, name, 'dist');
  const { build: transpile } = await import('esbuild');
  try {
    await transpile({
      entryPoints: transpiled,
      outdir: target,
      outbase: source,
      absWorkingDir: root,
      bundle: false,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      sourcemap: true,
      sourcesContent: false,
      logLevel: 'silent',
      tsconfigRaw: {
        compilerOptions: {
          experimentalDecorators: true,
          useDefineForClassFields: false,
          verbatimModuleSyntax: true,
          jsx: 'react',
        },
      },
    });
  } catch (error) {
    const { formatMessages } = await import('esbuild');
    const words = error.errors
      ? await formatMessages(error.errors, { kind: 'error', color: process.stdout.isTTY })
      : [error.message];
    throw new Problem(
      `${name} could not be built:\n${words.join('\n')}`,
      'Correct the lines named above and run the same command again.',
    );
  }
  const place = (file) => join(target, relative(source, file));
  for (const file of copied) {
    mkdirSync(dirname(place(file)), { recursive: true });
    copyFileSync(file, place(file));
  }
  const outputs = transpiled.map((file) => place(file).replace(/\.tsx?$/, '.js'));
  removeStale(target, new Set([...outputs, ...outputs.map((file) => `${file}.map`), ...copied.map(place)]));
}

/** A file whose source is gone would still be found by an import. */
function removeStale(folder, wanted) {
  for (const file of listFiles(folder)) if (!wanted.has(file)) rmSync(file);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && listFiles(path).length === 0) rmSync(path, { recursive: true });
  }
}

/** The panel's components, for the browser. The address is new whenever the script changed, so that `npm run dev` sees the change. */
export async function bundlePanel() {
  if (!existsSync(panelBundler)) return;
  const bundler = await import(`${pathToFileURL(panelBundler).href}?${statSync(panelBundler).mtimeMs}`);
  await bundler.bundlePanel();
}
