import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EngineError } from '../../src/engine/engine.js';
import { browserEnvironment } from '../../src/engine/wwebjs/browser.js';
import { createEngine } from '../../src/engine/wwebjs/client.js';

/** Browsers that die while they start: stand-ins that end as Chromium does. */

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'chasqui-launch-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function browser(script: string): string {
  const path = join(dir, 'browser');
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return path;
}
const startsWith = (script: string): Promise<EngineError> =>
  createEngine({ browser: { path: browser(script), profile: 'hardened', args: [] }, loadTimeoutMs: 10_000 })
    .launch({
      sessionId: 'test',
      profileDir: join(dir, 'login'),
      deviceName: null,
      abort: new AbortController().signal,
      onSignal: () => undefined,
    })
    .then(
      () => Promise.reject(new Error('It started.')),
      (error: EngineError) => error,
    );

describe('a browser that ends while it starts', () => {
  test.each([
    ['by SIGKILL, as the system does when memory runs out', 'kill -9 $$'],
    ['by itself, without a word', 'exit 1'],
    ['with words about something else', 'echo "[1:1] ERROR: dbus: No usable bus" >&2; exit 1'],
  ])('%s is BROWSER_CRASHED, which is tried again', async (_name, script) => {
    expect((await startsWith(script)).reason).toBe('BROWSER_CRASHED');
  });

  test.each([
    ['No usable sandbox! Update your kernel or see https://chromium.googlesource.com for more information.'],
    ['[1:1:ERROR:zygote_host_impl_linux.cc(101)] Running as root without --no-sandbox is not supported.'],
    ['Failed to move to new namespace: PID namespaces supported, but failed: errno = Operation not permitted'],
  ])('because it has no sandbox says so: %s', async (line) => {
    const error = await startsWith(`echo "${line}" >&2; exit 1`);
    expect([error.reason, error.message]).toEqual(['SANDBOX_UNAVAILABLE', line]);
  });

  test('and is looked at once more, leaves no process, and gets none of our secrets', async () => {
    process.env['SERVICE_API_KEY'] = 'a-key-that-must-not-be-seen';
    try {
      // The first start ends; the second one, for the look, would run for ever.
      const seen = join(dir, 'seen');
      await startsWith(
        `env > ${seen}.$$; case "$*" in *--dump-dom*) echo $$ > ${seen};; esac; echo "No usable sandbox!" >&2; case "$*" in *--dump-dom*) sleep 1000;; esac`,
      );
      expect(existsSync(seen)).toBe(true);
      const pid = readFileSync(seen, 'utf8').trim();
      const environment = readFileSync(`${seen}.${pid}`, 'utf8');
      expect([environment.includes('PATH='), environment.includes('must-not-be-seen')]).toEqual([true, false]);
      const state = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0] : 'gone';
      expect(['gone', 'Z', 'X']).toContain(state);
    } finally {
      delete process.env['SERVICE_API_KEY'];
    }
  });
});

test('a browser gets only the variables of our environment that it needs', () => {
  const env = {
    PATH: '/bin',
    HOME: '/home/x',
    LC_ALL: 'C',
    TZ: 'UTC',
    XDG_RUNTIME_DIR: '/run',
    SERVICE_API_KEY: 'k',
    NODE_OPTIONS: '--inspect',
    DATABASE_URL: 'postgres://',
    HTTP_PROXY: 'http://user:password@proxy',
    XDG: 'x',
    MY_PATH: 'x',
  };
  expect(Object.keys(browserEnvironment(env))).toEqual(['PATH', 'HOME', 'LC_ALL', 'TZ', 'XDG_RUNTIME_DIR']);
});
