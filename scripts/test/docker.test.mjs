import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { settings } from '@chasqui/shared';
import { root } from '../lib/paths.mjs';

/** Without Docker, what can be held against the files is what they say; `docker compose config` does the rest where there is one. */
const text = (name) => readFileSync(join(root, name), 'utf8');
const compose = text('docker-compose.yml');
/** The lines of one service: from its name to the next name with the same indent. */
const service = (name) => new RegExp(`^  ${name}:\\n((?:    .*\\n|\\n|  +#.*\\n)*)`, 'm').exec(compose)[1];
const known = new Set(Object.entries(settings).flatMap(([name, row]) => [name, ...(row.aliases ?? [])]));
const namesOf = (source) => [...source.matchAll(/^ +([A-Z][A-Z0-9_]+): /gm)].map((match) => match[1]);
const ofContainers = new Set(['SERVICE_KEY_DIR', 'HOME']);

test('the worker publishes no port, keeps the sandbox and gets no secret but the service key', () => {
  const worker = service('worker');
  expect(worker).not.toMatch(/^ +ports:/m);
  expect(worker).not.toMatch(/env_file|SYS_ADMIN|unconfined|privileged: true/);
  expect(worker).toContain('seccomp=./docker/chromium-seccomp.json');
  expect(worker).toContain('BROWSER_PROFILE: ${BROWSER_PROFILE:-hardened}');
  const secrets = namesOf(worker).filter((name) => settings[name]?.secret);
  expect(secrets).toEqual(['SERVICE_API_KEY']);
});

test('every setting in the images and the compose files is one that the programs know', () => {
  const names = [...namesOf(service('worker')), ...namesOf(service('backend')), ...namesOf(text('docker-compose.prod.yml'))];
  const inImages = [...text('docker/Dockerfile').matchAll(/\b([A-Z][A-Z_]+)=\S/g)]
    .map((match) => match[1])
    .filter((name) => name !== 'CI');
  expect(names.length).toBeGreaterThan(15);
  expect([...names, ...inImages].filter((name) => !known.has(name) && !ofContainers.has(name))).toEqual([]);
});

test('both images run as an ordinary user and have a health check', () => {
  for (const stage of text('docker/Dockerfile')
    .split(/^FROM /m)
    .filter((part) => /AS (backend|worker)\n/.test(part))) {
    expect(stage).toContain('\nUSER node\n');
    expect(stage).toContain('\nHEALTHCHECK ');
  }
});

test('the seccomp profile lets namespaces be made and nothing be mounted', () => {
  const profile = JSON.parse(text('docker/chromium-seccomp.json'));
  const refused = profile.syscalls.filter((rule) => rule.action === 'SCMP_ACT_ERRNO').flatMap((rule) => rule.names);
  expect(refused).toEqual(
    expect.arrayContaining(['mount', 'bpf', 'setns', 'init_module', 'io_uring_setup', 'open_by_handle_at']),
  );
  expect(refused).not.toEqual(expect.arrayContaining(['unshare']));
  expect(refused).not.toEqual(expect.arrayContaining(['clone']));
});

test('nginx balances by least connections, takes out a backend after 3 failures for 30 s, and hides /internal', () => {
  const upstream = text('docker/nginx-upstream.conf');
  expect(upstream).toMatch(/least_conn;/);
  expect(upstream).toMatch(/max_fails=3 fail_timeout=30s/);
  const pattern = /location ~\* (\S+) \{ return 404; \}/.exec(text('docker/nginx-routes.conf'))[1];
  const hidden = (path) => new RegExp(pattern, 'i').test(path);
  expect(['/internal/events', '/internal', '/INTERNAL/x', '//internal/events', '/metrics'].map(hidden)).toEqual(
    Array(5).fill(true),
  );
  expect(['/api/v1/internal', '/internally', '/admin'].map(hidden)).toEqual([false, false, false]);
});
