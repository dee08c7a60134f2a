import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * What AdminJS's own scripts put on the page as globals (AssetBundler.DEFAULT_GLOBALS of adminjs 7.8.17). Our pages use these, so
 * that there is one React on the page.
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
 * Bundles the pages of the admin panel (components/*.tsx, each a default export under its file's name) into
 * dist/admin/panel.bundle.js. When the product is built, never while it runs: AdminJS's bundler takes ten seconds and up to
 * 785 MB, this a third of a second.
 */
export async function bundlePanel() {
  const { build } = await import('esbuild');
  const here = dirname(fileURLToPath(import.meta.url));
  const components = join(here, '..', '..', 'src', 'admin', 'components');
  const names = readdirSync(components)
    .filter((file) => /^[A-Z]\w*\.tsx$/.test(file))
    .map((file) => file.slice(0, -'.tsx'.length));
  const entry = [
    'AdminJS.UserComponents = {};',
    ...names.map((name) => `import ${name} from './${name}.tsx';\nAdminJS.UserComponents.${name} = ${name};`),
  ];
  await build({
    stdin: { contents: entry.join('\n'), resolveDir: components, loader: 'js' },
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
