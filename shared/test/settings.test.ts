import { expect, test } from '@jest/globals';
import { readSettings, settings, SettingsError, unknownSettings } from '../src/index.js';

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

test('a name that looks like a setting is recognised, with the setting that was meant; other names are not', () => {
  const meant = (name: string): string | null | undefined => unknownSettings([name])[0]?.meant;
  for (const name of Object.keys(settings)) {
    expect(meant(name)).toBeUndefined();
    // Two settings may differ by one letter (WORKER_URL, WORKER_URLS).
    const variants = [name.toLowerCase(), name.replaceAll('_', '-'), name.replaceAll('_', '')].filter(
      (variant) => variant !== name,
    );
    for (const variant of variants) expect([variant, meant(variant)]).toEqual([variant, name]);
    if (name.length >= 12) expect([name, meant(`${name.slice(0, 4)}${name.slice(5)}`)]).not.toEqual([name, null]);
  }
  expect(unknownSettings(['NODE_SERVICE_URL', 'CHROME_PATH'])).toEqual([]);
  for (const name of [
    'PATH',
    'HOME',
    'USER',
    'SORT',
    'POST',
    'SHELL',
    'LANG',
    'HOSTNAME',
    'NODE_OPTIONS',
    'NODE_VERSION',
    'TERM',
    'PWD',
    'MAIL',
    'EDITOR',
    'LOGNAME',
    'XDG_DATA_DIRS',
    'PGHOST',
    'POSTGRES_PASSWORD',
  ])
    expect([name, meant(name)]).toEqual([name, null]);
});
