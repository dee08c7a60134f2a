import './lib/node-version.mjs';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { listFiles } from './lib/fingerprint.mjs';
import { install } from './lib/install.mjs';
import { build } from './lib/packages.mjs';
import { root } from './lib/paths.mjs';
import {
  apiPage,
  errorsPage,
  eventsPage,
  jobsPage,
  metricsPage,
  operationsPage,
  permissionsPage,
  settingsPage,
} from './lib/reference.mjs';
import { defaultOf } from './lib/settings-file.mjs';
import { say, showProblem } from './lib/terminal.mjs';

/** Writes `docs/reference/`; with `--check`, only names the pages that are not up to date (exit code 1 if there are any). */

/** Every route of a contract: they are exported one by one, or in objects. */
function routesIn(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  if (typeof value.id === 'string' && typeof value.path === 'string' && 'consumes' in value) return [value];
  return Object.getPrototypeOf(value) === Object.prototype ? Object.values(value).flatMap(routesIn) : [];
}

const load = (path) => import(pathToFileURL(join(root, path)).href);

/** The public routes of the backend, and the operations that it mounts. A test compares them with those of a running backend. */
export async function publicRoutes(shared) {
  const files = listFiles(join(root, 'backend/dist')).filter((file) => /contract\.js$|whatsapp\/operations\.js$/.test(file));
  const modules = await Promise.all(files.sort().map((file) => load(relative(root, file))));
  const found = [
    ...modules.flatMap((contract) => Object.values(contract).flatMap(routesIn)),
    ...Object.values(shared.operations).flatMap(shared.operationRoutes),
  ];
  return [...new Map(found.map((route) => [route.id, route])).values()].filter(({ auth }) => auth !== 'svc');
}

async function pages() {
  const shared = await load('shared/dist/index.js');
  const { z } = await import(pathToFileURL(join(root, 'shared/node_modules/zod/index.js')).href);
  const schemaOf = (schema) => z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' });
  const tables = { ...shared, routes: await publicRoutes(shared), schemaOf, defaultOf };
  return {
    'api.md': apiPage(tables),
    'events.md': eventsPage(tables),
    'errors.md': errorsPage(tables),
    'jobs.md': jobsPage(tables),
    'settings.md': settingsPage(tables),
    'metrics.md': metricsPage(tables),
    'permissions.md': permissionsPage(tables),
    'operations.md': operationsPage(tables),
  };
}

async function main() {
  await install();
  await build({ only: ['shared', 'backend'] });
  const prettier = await import('prettier');
  const stale = [];
  for (const [name, text] of Object.entries(await pages())) {
    const file = join(root, 'docs/reference', name);
    const wanted = await prettier.format(text, { ...(await prettier.resolveConfig(file)), parser: 'markdown' });
    if (existsSync(file) && readFileSync(file, 'utf8') === wanted) continue;
    stale.push(`docs/reference/${name}`);
    if (process.argv.includes('--check')) continue;
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, wanted);
  }
  if (!process.argv.includes('--check')) say(stale.length > 0 ? `Written: ${stale.join(', ')}.` : 'All pages were up to date.');
  else if (stale.length === 0) say('docs/reference/ is up to date.');
  else {
    say(`Out of date: ${stale.join(', ')}. Run: npm run docs`);
    process.exitCode = 1;
  }
}

try {
  await main();
} catch (error) {
  showProblem(error);
  process.exitCode = 1;
}
