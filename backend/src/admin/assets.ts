import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import express, { type Response, type Router } from 'express';

/** `src/admin` and `dist/admin` are equally deep, so that the package folder is two levels above both. */
const packageRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const bundleFile = join(packageRoot, 'dist', 'admin', 'panel.bundle.js');

/** The browser validates its copy at each use: an update is effective at once, and an unchanged file costs a 304. */
const caching = (res: Response): void => {
  res.set({ 'Cache-Control': 'no-cache' });
};

/**
 * Mounts the files that a browser fetches, from a fixed list. AdminJS's own routes would look for development builds outside production, bundle
 * at run time, and send absolute paths, which Express 5 answers with 404 when a folder in the path begins with a dot.
 */
export function mountAssets(router: Router): void {
  if (!existsSync(bundleFile)) throw new Error('The pages of the admin panel are not built. Run: npm run build');
  const require = createRequire(import.meta.url);
  const adminjs = join(dirname(require.resolve('adminjs')), 'lib', 'frontend', 'assets', 'scripts');
  const designSystem = join(dirname(require.resolve('@adminjs/design-system')), '..');
  const inter = join(dirname(require.resolve('@fontsource-variable/inter/package.json')), 'files');
  const files: Record<string, string> = {
    '/frontend/assets/app.bundle.js': join(adminjs, 'app-bundle.production.js'),
    '/frontend/assets/global.bundle.js': join(adminjs, 'global-bundle.production.js'),
    '/frontend/assets/design-system.bundle.js': join(designSystem, 'bundle.production.js'),
    '/frontend/assets/components.bundle.js': bundleFile,
    '/static/inter-latin.woff2': join(inter, 'inter-latin-wght-normal.woff2'),
    '/static/inter-latin-ext.woff2': join(inter, 'inter-latin-ext-wght-normal.woff2'),
  };
  for (const [path, file] of Object.entries(files)) {
    router.get(path, (_req, res, next) => {
      caching(res);
      res.sendFile(basename(file), { root: dirname(file), cacheControl: false }, (error) => {
        if (error && !res.headersSent) next(error);
      });
    });
  }
  router.use('/static', express.static(join(packageRoot, 'static'), { index: false, cacheControl: false, setHeaders: caching }));
}
