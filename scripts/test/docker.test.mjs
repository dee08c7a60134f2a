import { describe, expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load, DEFAULT_SCHEMA, Type } from 'js-yaml';
import { readSettings, settings } from '@chasqui/shared';
import { root } from '../lib/paths.mjs';

/** Without Docker, what can be held against the files is what they say; `docker compose config` does the rest where there is one. */
const text = (name) => readFileSync(join(root, name), 'utf8');
/** Compose's own tags: `!reset` removes what the file before it has, `!override` replaces it instead of appending. */
const tags = ['reset', 'override'].flatMap((name) =>
  ['scalar', 'sequence', 'mapping'].map(
    (kind) => new Type(`!${name}`, { kind, construct: (data) => Object.assign(data ?? [], { tag: name }) }),
  ),
);
const parse = (name) => load(text(name), { schema: DEFAULT_SCHEMA.extend(tags) });
const compose = parse('docker-compose.yml');
const prod = parse('docker-compose.prod.yml');
const { backend, worker, postgres, redis, nginx } = compose.services;
const known = new Set(Object.entries(settings).flatMap(([name, row]) => [name, ...(row.aliases ?? [])]));
const ofContainers = new Set(['SERVICE_KEY_DIR', 'HOME']);

/** The value that Compose hands over when `.env` has what `env` has. */
function interpolate(value, env = {}) {
  return String(value)
    .replace(/\$\{([A-Z_]+)(?::([-?])((?:[^{}]|\{[^{}]*\})*))?\}/g, (_, name, mark, rest = '') => {
      if (env[name]) return env[name];
      if (mark === '?') throw new Error(`required variable ${name} is missing a value: ${rest}`);
      return rest;
    })
    .replaceAll('$$', '$');
}
const environmentOf = (service, env) =>
  Object.fromEntries(Object.entries(service.environment).map(([name, value]) => [name, interpolate(value, env)]));

describe('networks', () => {
  test('the container with foreign pages reaches no database', () => {
    const shared = (one, other) => one.networks.filter((name) => other.networks.includes(name));
    expect(shared(worker, postgres)).toEqual([]);
    expect(shared(worker, redis)).toEqual([]);
    expect(shared(nginx, postgres)).toEqual([]);
    expect(shared(nginx, redis)).toEqual([]);
    expect(shared(backend, postgres)).toEqual(['data']);
    expect(shared(backend, redis)).toEqual(['data']);
    expect(compose.networks).toMatchObject({ data: { internal: true }, internal: { internal: true } });
  });

  test('whatever is published is published on this machine only, but nginx with TLS', () => {
    for (const [name, service] of Object.entries(compose.services))
      for (const port of service.ports ?? [])
        expect([name, interpolate(port)]).toEqual([name, expect.stringMatching(/^127\.0\.0\.1:/)]);
    expect(worker.ports).toBeUndefined();
    expect(prod.services.backend.ports).toMatchObject({ tag: 'reset', length: 0 });
    expect(prod.services.nginx.ports).toMatchObject({ tag: 'override' });
    expect([...prod.services.nginx.ports].map((port) => interpolate(port))).toEqual(['0.0.0.0:80:8080', '0.0.0.0:443:8443']);
  });
});

describe('settings', () => {
  test('every setting that the worker reads reaches its container', () => {
    const sources = readdirSync(join(root, 'whatsapp-service/src'), { recursive: true }).filter((name) => name.endsWith('.ts'));
    const read = new Set(
      sources.flatMap((name) =>
        [...text(join('whatsapp-service/src', name)).matchAll(/\bsettings\.([A-Z][A-Z0-9_]+)/g)].map(([, setting]) => setting),
      ),
    );
    // Only the default of BACKEND_URL is made of it, and that is set.
    read.delete('PORT');
    expect(read.size).toBeGreaterThan(20);
    expect([...read].filter((name) => !(name in worker.environment))).toEqual([]);
  });

  test('the worker gets every setting of .env that its container does not fix', () => {
    const fixed = new Set(['WORKER_HOST', 'WORKER_PORT', 'WORKER_URL', 'BACKEND_URL', 'DATA_DIR', ...ofContainers]);
    for (const name of Object.keys(worker.environment).filter((one) => !fixed.has(one)))
      expect([name, environmentOf(worker, { [name]: 'from-env-file' })[name]]).toEqual([name, 'from-env-file']);
  });

  test('the backend gets all of .env, and the settings that the files add are valid', () => {
    expect(backend.env_file).toEqual([{ path: '.env', required: false }]);
    const env = { DATABASE_URL: 'postgres://chasqui:p@postgres:5432/chasqui', PUBLIC_URL: 'https://wa.example.com' };
    for (const own of [environmentOf(backend), { ...environmentOf(backend, env), ...environmentOf(prod.services.backend, env) }])
      expect(() => readSettings(own)).not.toThrow();
    expect(() => readSettings(environmentOf(worker, {}))).not.toThrow();
  });

  test('every setting in the images and the compose files is one that the programs know', () => {
    const names = [worker, backend, prod.services.backend].flatMap((service) => Object.keys(service.environment));
    const inImages = [...text('docker/Dockerfile').matchAll(/\b([A-Z][A-Z_]+)=\S/g)]
      .map((match) => match[1])
      .filter((name) => name !== 'CI');
    expect(names.length).toBeGreaterThan(15);
    expect([...names, ...inImages].filter((name) => !known.has(name) && !ofContainers.has(name))).toEqual([]);
  });

  test('the worker gets no secret but the service key, the token of metrics and the headers for the collector of traces', () => {
    expect(worker.env_file).toBeUndefined();
    expect(Object.keys(worker.environment).filter((name) => settings[name]?.secret)).toEqual([
      'SERVICE_API_KEY',
      'METRICS_TOKEN',
      'OTEL_EXPORTER_OTLP_HEADERS',
    ]);
  });

  test('nginx alone is trusted to name the client, with and without the production file', () => {
    expect(readSettings(environmentOf(backend)).TRUST_PROXY).toEqual(['nginx']);
    expect(nginx.networks.some((name) => backend.networks.includes(name))).toBe(true);
    expect(prod.services.backend.environment).not.toHaveProperty('TRUST_PROXY');
    expect(text('docker/nginx-routes.conf')).toMatch(/^proxy_set_header X-Forwarded-For \$remote_addr;$/m);
  });

  test('production starts no two backends on SQLite, and names the setting to change', () => {
    expect(prod.services.backend.deploy.replicas).toBe(2);
    const env = { PUBLIC_URL: 'https://a.example' };
    expect(() => environmentOf(prod.services.backend, env)).toThrow(
      /DATABASE_URL is missing a value: .*SQLite.*Set DATABASE_URL=postgres:/,
    );
    expect(() => environmentOf(prod.services.backend, { DATABASE_URL: 'postgres://h' })).toThrow(/Set PUBLIC_URL=https:/);
  });
});

describe('containers', () => {
  test('the worker keeps the sandbox', () => {
    expect(worker.security_opt).toContain('seccomp=./docker/chromium-seccomp.json');
    expect(JSON.stringify(worker)).not.toMatch(/SYS_ADMIN|unconfined|"privileged":true/);
    expect(environmentOf(worker).BROWSER_PROFILE).toBe('hardened');
  });

  test.each(['backend', 'worker'])('the %s is limited, and has no rights of root', (name) => {
    const service = compose.services[name];
    expect(service).toMatchObject({ init: true, read_only: true, cap_drop: ['ALL'] });
    expect(service.security_opt).toContain('no-new-privileges:true');
    expect(service.tmpfs).toEqual([expect.stringMatching(/size=\d+m/)]);
    expect([service.mem_limit, service.pids_limit].map((limit) => interpolate(limit))).toEqual([
      expect.stringMatching(/^\d+g$/),
      expect.stringMatching(/^\d+$/),
    ]);
    const own = { BACKEND_MEMORY: '9g', WORKER_MEMORY: '9g', BACKEND_PIDS: '99', WORKER_PIDS: '99' };
    expect([service.mem_limit, service.pids_limit].map((limit) => interpolate(limit, own))).toEqual(['9g', '99']);
  });

  test('every container that is waited for says whether it is healthy, soon after its start', () => {
    const stages = text('docker/Dockerfile')
      .split(/^FROM /m)
      .filter((part) => /AS (backend|worker)\n/.test(part));
    expect(stages).toHaveLength(2);
    for (const stage of stages) {
      expect(stage).toContain('\nUSER node\n');
      expect(stage).toMatch(/\nHEALTHCHECK .*--start-interval=2s /);
      expect(stage).toMatch(/rm -rf \/usr\/local\/lib\/node_modules /);
      expect(stage).not.toContain('ffmpeg');
    }
    for (const service of [postgres, redis, nginx]) expect(service.healthcheck).toMatchObject({ start_interval: '1s' });
    expect(backend.depends_on).toEqual({
      postgres: { condition: 'service_healthy', required: false },
      redis: { condition: 'service_healthy', required: false },
    });
  });

  test('the files say which Compose they need, and who must be able to read the key of TLS', () => {
    expect(text('docker-compose.yml').split('\n')[0]).toMatch(/Docker Engine 25 .* Docker Compose 2\.24\.4/);
    expect(text('README.md')).toMatch(/Docker Compose 2\.24\.4/);
    expect(text('docker-compose.prod.yml')).toContain('chown 101 docker/tls/key.pem');
  });

  test('no permanent key is printed where the output is kept', () => {
    expect(text('docker/Dockerfile')).toMatch(/ENV .*SHOW_FIRST_API_KEY=false/);
  });
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

test('nginx balances by least connections, removes a backend after 3 failures for 5 s, and hides /internal', () => {
  const upstream = text('docker/nginx-upstream.conf');
  expect(upstream).toMatch(/least_conn;/);
  expect(upstream).toMatch(/max_fails=3 fail_timeout=5s/);
  const pattern = /location ~\* (\S+) \{ return 404; \}/.exec(text('docker/nginx-routes.conf'))[1];
  const hidden = (path) => new RegExp(pattern, 'i').test(path);
  expect(['/internal/events', '/internal', '/INTERNAL/x', '//internal/events', '/metrics'].map(hidden)).toEqual(
    Array(5).fill(true),
  );
  expect(['/api/v1/internal', '/internally', '/admin'].map(hidden)).toEqual([false, false, false]);
});
