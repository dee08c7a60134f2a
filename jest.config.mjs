/**
 * Three kinds of test, told apart by their names: `*.test.ts` (units and HTTP scenarios), `*.browser.test.ts` (a real Chromium) and
 * `*.e2e.test.ts` (real processes). `scripts/test.mjs` runs them; see there for how many at a time.
 */
const transform = {
  '^.+\\.tsx?$': [
    '@swc/jest',
    {
      jsc: {
        target: 'es2022',
        parser: { syntax: 'typescript', tsx: false, decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: false, useDefineForClassFields: false },
        keepClassNames: true,
      },
      module: { type: 'es6' },
      sourceMaps: 'inline',
    },
  ],
};

const common = {
  cacheDirectory: '<rootDir>/.cache/jest',
  globalSetup: '<rootDir>/scripts/jest/setup.mjs',
  globalTeardown: '<rootDir>/scripts/jest/teardown.mjs',
  testEnvironment: '<rootDir>/scripts/jest/environment.mjs',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {
    '^fast-check$': '<rootDir>/scripts/jest/fast-check.mjs',
    // Its ES modules import JSON in a way that Jest warns of, five lines a test file.
    '^libphonenumber-js$': '<rootDir>/shared/node_modules/libphonenumber-js/index.cjs',
    '^@chasqui/shared$': '<rootDir>/shared/src/index.ts',
    '^@chasqui/shared/(egress|express|fail-point|http-agents|process|tracing)$': '<rootDir>/shared/src/$1.ts',
    '^@chasqui/shared/metrics$': '<rootDir>/shared/src/meter.ts',
    '^@chasqui/simulator$': '<rootDir>/simulator/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform,
  transformIgnorePatterns: ['/node_modules/', '/dist/'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '/.cache/'],
  modulePathIgnorePatterns: ['/dist/', '/.cache/'],
};

const operations = '/engine/operations\\.browser\\.test\\.ts$';
const packages = ['shared', 'backend', 'whatsapp-service', 'simulator'].map((name) => `<rootDir>/${name}`);

export default {
  projects: [
    {
      ...common,
      displayName: 'fast',
      roots: [...packages, '<rootDir>/scripts'],
      testMatch: ['**/*.test.ts', '**/*.test.mjs'],
      testPathIgnorePatterns: [...common.testPathIgnorePatterns, '\\.browser\\.test\\.ts$', '\\.e2e\\.test\\.ts$'],
    },
    {
      ...common,
      displayName: 'browser',
      roots: packages,
      testMatch: ['**/*.browser.test.ts'],
      testPathIgnorePatterns: [...common.testPathIgnorePatterns, operations],
    },
    // Alone, because it mostly waits: for each operation until pages that do not answer are given up.
    { ...common, displayName: 'operations', roots: packages, testRegex: [operations] },
    { ...common, displayName: 'e2e', roots: packages, testMatch: ['**/*.e2e.test.ts'] },
  ],
  testTimeout: 60_000,
  // Each test file leaves some 60 MB behind in its process; with two gigabytes the garbage collector takes much of the time.
  workerIdleMemoryLimit: '600MB',
};
