import { readdirSync } from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The globals that AdminJS's own scripts define on the page (AssetBundler.DEFAULT_GLOBALS of adminjs 7.8.17). Our pages use them, so that the
 * page has one React.
 */
const globals = {
  react: 'React',
  redux: 'Redux',
  'react-dom': 'ReactDOM',
  'react-redux': 'ReactRedux',
  'react-router': 'ReactRouter',
  'react-router-dom': 'ReactRouterDOM',
  'prop-types': 'PropTypes',
  adminjs: 'AdminJS',
  '@adminjs/design-system': 'AdminJSDesignSystem',
};

const pageGlobals = {
  name: 'page-globals',
  setup(build) {
    build.onResolve({ filter: /^[^./]/ }, ({ path }) => (globals[path] ? { path, namespace: 'page' } : undefined));
    build.onLoad({ filter: /^/, namespace: 'page' }, ({ path }) => ({
      contents: `module.exports = globalThis[${JSON.stringify(globals[path])}];`,
      loader: 'js',
    }));
  },
};

/**
 * Bundles the browser half of the admin panel (backend/panel: each .tsx file has one default export, registered under the file's name)
 * into dist/admin/panel.bundle.js. Runs when the product is built, never while it runs: AdminJS's own bundler needs ten seconds and up
 * to 785 MB; this one needs a third of a second.
 */
export async function bundlePanel() {
  const { build } = await import('esbuild');
  const here = dirname(fileURLToPath(import.meta.url));
  const panel = join(here, '..', '..', 'panel');
  const files = readdirSync(panel, { recursive: true, encoding: 'utf8' })
    .map((file) => file.split(sep).join('/'))
    .filter((file) => file.endsWith('.tsx'))
    .sort();
  const entry = [
    'AdminJS.UserComponents = {};',
    ...files.map((file) => {
      const name = basename(file, '.tsx');
      return `import ${name} from './${file}';\nAdminJS.UserComponents.${name} = ${name};`;
    }),
  ];
  await build({
    stdin: { contents: entry.join('\n'), resolveDir: panel, loader: 'js' },
    outfile: join(here, '..', '..', 'dist', 'admin', 'panel.bundle.js'),
    bundle: true,
    minify: true,
    format: 'iife',
    platform: 'browser',
    target: 'es2020',
    jsx: 'transform',
    legalComments: 'none',
    logLevel: 'warning',
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [pageGlobals],
  });
}
