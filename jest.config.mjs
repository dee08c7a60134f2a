/**
 * Three kinds of test, told apart by their names: `*.test.ts` (units and HTTP scenarios, many at a time),
 * `*.browser.test.ts` and `*.e2e.test.ts` (real Chromium, real processes: one file at a time).
 * `scripts/test.mjs` runs both kinds one after the other; see there for the reasons.
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
  testEnvironment: '<rootDir>/scripts/jest/environment.mjs',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {
    '^fast-check$': '<rootDir>/scripts/jest/fast-check.mjs',
    // Its ES modules import JSON in a way that Jest warns of, five lines a test file.
    '^libphonenumber-js$': '<rootDir>/shared/node_modules/libphonenumber-js/index.cjs',
    '^@chasqui/shared$': '<rootDir>/shared/src/index.ts',
    '^@chasqui/shared/(express|fail-point|process)$': '<rootDir>/shared/src/$1.ts',
    '^@chasqui/simulator$': '<rootDir>/simulator/src/index.ts',
    '^(\\.{1,2}/.*)\\.js$': '$1',
  },
  transform,
  transformIgnorePatterns: ['/node_modules/', '/dist/'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '/.cache/'],
  modulePathIgnorePatterns: ['/dist/', '/.cache/'],
};

export default {
  projects: [
    {
      ...common,
      displayName: 'fast',
      roots: ['<rootDir>/shared', '<rootDir>/backend', '<rootDir>/whatsapp-service', '<rootDir>/simulator', '<rootDir>/scripts'],
      testMatch: ['**/*.test.ts', '**/*.test.mjs'],
      testPathIgnorePatterns: [...common.testPathIgnorePatterns, '\\.browser\\.test\\.ts$', '\\.e2e\\.test\\.ts$'],
    },
    {
      ...common,
      displayName: 'browser',
      roots: ['<rootDir>/shared', '<rootDir>/backend', '<rootDir>/whatsapp-service', '<rootDir>/simulator'],
      testMatch: ['**/*.browser.test.ts', '**/*.e2e.test.ts'],
    },
  ],
  testTimeout: 60_000,
};
