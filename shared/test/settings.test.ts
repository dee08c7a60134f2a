import { expect, test } from '@jest/globals';
import { readSettings, settings, SettingsError } from '../src/index.js';

const problemsOf = (env: Record<string, string>): string[] => {
  try {
    readSettings(env);
  } catch (error) {
    if (error instanceof SettingsError) return error.problems.map((problem) => problem.name);
    throw error;
  }
  return [];
};

test('an empty environment gives the documented defaults', () => {
  expect(readSettings({})).toMatchObject({
    PORT: 8000,
    WORKER_PORT: 3000,
    DATA_DIR: './data',
    MAX_SESSIONS: 50,
    BROWSER_PROFILE: 'lean',
    BROWSER_ARGS: [],
    LOG_LEVEL: 'info',
  });
});

test('every wrong setting is named, and no secret is repeated', () => {
  const env = {
    PORT: '99999',
    BROWSER_PROFILE: 'fast',
    BROWSER_ARGS: 'x',
    SERVICE_API_KEY: 'short-and-secret',
    MAX_SESSIONS: '0',
  };
  expect(problemsOf(env).sort()).toEqual(['BROWSER_ARGS', 'BROWSER_PROFILE', 'MAX_SESSIONS', 'PORT', 'SERVICE_API_KEY']);
  expect(() => readSettings(env)).toThrow(/PORT/);
  expect(() => readSettings(env)).not.toThrow(/short-and-secret/);
});

test('an empty value counts as unset', () => {
  expect(readSettings({ PORT: '', DATABASE_URL: '' })).toMatchObject({ PORT: 8000, DATABASE_URL: undefined });
});

test('the older names are read, the proper one first', () => {
  expect(readSettings({ NODE_SERVICE_URL: 'http://a:1,http://b:2' }).WORKER_URLS).toEqual(['http://a:1', 'http://b:2']);
  expect(readSettings({ CHROME_PATH: '/a', BROWSER_PATH: '/b' }).BROWSER_PATH).toBe('/b');
  expect(problemsOf({ NODE_SERVICE_API_KEY: 'short' })).toEqual(['NODE_SERVICE_API_KEY']);
});

test('browser arguments are a JSON array of strings', () => {
  expect(readSettings({ BROWSER_ARGS: '["--a=b,c","--d"]' }).BROWSER_ARGS).toEqual(['--a=b,c', '--d']);
  expect(problemsOf({ BROWSER_ARGS: '[1]' })).toEqual(['BROWSER_ARGS']);
});

test('every setting has a sentence and a group', () => {
  for (const [name, row] of Object.entries(settings)) {
    expect([name, row.doc]).toEqual([name, expect.stringMatching(/^.{10,}\.$/)]);
    expect(row.group).not.toBe('');
  }
});
