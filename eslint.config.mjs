import regexp from 'eslint-plugin-regexp';
import tseslint from 'typescript-eslint';

/**
 * Rules that find mistakes; how code looks is prettier's matter. The rules with types cost most of the time, so they are named one by one.
 */
const nodeGlobals = Object.fromEntries(
  [
    'process',
    'console',
    'Buffer',
    'URL',
    'URLSearchParams',
    'setTimeout',
    'clearTimeout',
    'setInterval',
    'clearInterval',
    'setImmediate',
    'performance',
    'fetch',
    'AbortController',
    'AbortSignal',
    'structuredClone',
    'TextEncoder',
    'TextDecoder',
    'FormData',
    'Blob',
  ].map((name) => [name, 'readonly']),
);

const restrictedSyntax = [
  {
    // A timer does not await what it calls, so a rejection would end the process.
    selector: 'CallExpression[callee.name=/^set(Timeout|Interval|Immediate)$/] > :function[async=true]',
    message: 'Call a function that catches and logs, with void.',
  },
  {
    // Node 20's compiled version answers false for letters from U+0080 to U+00FF.
    selector: "MemberExpression[object.name='URL'][property.name='canParse']",
    message: 'Use parseUrl of shared.',
  },
  {
    // Without a time limit of its own an agent lets the server close first, and a request may cross that.
    selector: "NewExpression[callee.property.name='Agent']",
    message: 'Use createAgents of shared.',
  },
];

/** See docs/decisions/042-three-ways-to-rows.md. */
const builders = {
  selector: 'MemberExpression[property.name=/^create(Query|SelectQuery)Builder$/]',
  message: 'Use a finder, readRows or runStatement; backend/src/db/rows.ts says when.',
};
const writesAsText = ['Literal[value', 'TemplateElement[value.raw'].map((text) => ({
  selector: `${text}=/^\\s*(UPDATE|INSERT INTO|DELETE FROM)\\s/]`,
  message: 'Use insertRow, updateRows or deleteRows of backend/src/db/rows.ts, or write this in the store of the table.',
}));
/** The stores: each writes its own tables with SQL text. */
const stores = [
  'backend/src/accounts/key-{requests,usage}.ts',
  'backend/src/bulk/{state,upkeep}.ts',
  'backend/src/contacts/{contacts,sighting}.ts',
  'backend/src/events/events.ts',
  'backend/src/failures/{error-counts,failures}.ts',
  'backend/src/http/{health,idempotent-calls}.ts',
  'backend/src/jobs/{retention,runs}.ts',
  'backend/src/media/thumbnails.ts',
  'backend/src/messages/accept/idempotency.ts',
  'backend/src/messages/conversations/track.ts',
  'backend/src/messages/quotas/{check,quotas}.ts',
  'backend/src/messages/send/{due,pacing,quiet}.ts',
  'backend/src/messages/usage/counts.ts',
  'backend/src/privacy/{erasure,privacy}.ts',
  'backend/src/search/{indexing,search,store}.ts',
  'backend/src/webhooks/{claims,deliveries,webhooks}.ts',
];

const everywhere = {
  eqeqeq: ['error', 'always', { null: 'ignore' }],
  'no-empty': 'error',
  'no-constant-condition': ['error', { checkLoops: false }],
  'no-dupe-else-if': 'error',
  'no-fallthrough': 'error',
  'no-self-compare': 'error',
  'no-unsafe-finally': 'error',
  'no-var': 'error',
  'prefer-const': ['error', { destructuring: 'all' }],
  'max-lines': ['error', { max: 400 }],
  'max-lines-per-function': ['error', { max: 100 }],
  'no-restricted-syntax': ['error', ...restrictedSyntax],
};

/**
 * A regular expression whose time grows faster than its input stops the process on one long text: nested or adjacent quantifiers that fit
 * the same characters, and an unanchored one that is tried from every position.
 */
const linearExpressions = {
  plugins: { regexp },
  rules: {
    'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
    'regexp/no-super-linear-move': ['error', { report: 'potential', ignoreSticky: false }],
  },
};

export default tseslint.config(
  { files: ['**/*.ts', '**/*.tsx', '**/*.mjs', '**/*.cjs'], ...linearExpressions },
  {
    ignores: [
      '**/dist/**',
      '**/node_modules/**',
      '.cache/**',
      'coverage/**',
      'data/**',
      'media/**',
      'examples/**',
      'docs/**',
      '**/.adminjs/**',
    ],
  },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.base],
    languageOptions: {
      parserOptions: { project: ['tsconfig.json', 'tsconfig.browser.json'], tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      ...everywhere,
      'no-console': 'error',
      'no-throw-literal': 'off',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/ban-ts-comment': 'error',
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-asserted-optional-chain': 'error',
      '@typescript-eslint/no-unused-expressions': ['error', { allowShortCircuit: true, allowTernary: true }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: true }],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    // jest hands over its own mocks and matchers; a test may also print what it measured.
    files: ['**/*.test.ts', '**/test/**/*.ts', 'bench/**/*.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    // A `describe` is one function. A migration is a list of statements, and the simulator's page one script.
    files: ['**/*.test.*', '**/test/**', 'backend/src/db/migrations/*.ts', 'simulator/page/**'],
    rules: { 'max-lines-per-function': 'off' },
  },
  {
    files: ['backend/src/**/*.ts'],
    ignores: ['backend/src/db/**', 'backend/src/admin/resource.ts', ...stores],
    rules: { 'no-restricted-syntax': ['error', ...restrictedSyntax, builders, ...writesAsText] },
  },
  {
    files: stores,
    rules: { 'no-restricted-syntax': ['error', ...restrictedSyntax, builders] },
  },
  {
    // These talk to the person at the terminal before there is any log, or run inside WhatsApp's page, which has nothing else.
    files: ['**/src/main.ts', 'whatsapp-service/src/engine/wwebjs/page/*.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    files: ['**/*.mjs', '**/*.cjs'],
    languageOptions: { globals: { ...nodeGlobals, module: 'writable' } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: { ...everywhere, 'no-undef': 'error', 'no-unused-vars': ['error', { argsIgnorePattern: '^_' }] },
  },
);
