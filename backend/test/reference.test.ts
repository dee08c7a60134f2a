import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  errorTable,
  eventCatalogue,
  eventTypes,
  operationIds,
  operationRoute,
  operations,
  permissionCatalogue,
  requestExamplesOf,
  settings,
  withSoon,
  type AnyRoute,
} from '@chasqui/shared';
import type { Rig } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { curlCommands, type CurlCommand } from './support/shell-commands.js';
import { readText, root } from './support/source.js';

/** What `npm run docs` and the OpenAPI document say, compared with a running backend. That the pages are current is a check of `npm test`. */

let core: Core;
let rig: Rig;
beforeAll(async () => {
  core = await startCore();
  ({ rig } = core);
});
afterAll(() => core?.close());

const headings = (page: string, depth: string): string[] =>
  [...readText(`docs/reference/${page}`).matchAll(/^(#+) `([^`]+)`$/gm)].flatMap(([, marks, name]) =>
    marks === depth ? name! : [],
  );

describe('the reference', () => {
  test('lists every public route of a running backend, and no other', () => {
    const chapter = readText('docs/reference/api.md').split('## Errors of each route')[0]!;
    const listed = [...chapter.matchAll(/^- `([A-Z]+ \/[^`]*)`: /gm)].map(([, route]) => route!);
    const mounted = rig.routes.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    // The WebSocket is not mounted in Express: the upgrade of the connection is its request.
    expect(listed.sort()).toEqual([...new Set([...mounted, 'GET /ws'])].sort());
  });

  test('has no route that restores a backup, and the guide says why', () => {
    const backups = rig.routes
      .filter(({ path }) => path.startsWith('/admin/backups'))
      .map(({ method, path }) => `${method} ${path}`);
    expect(backups.length).toBeGreaterThan(3);
    expect(backups.filter((route) => route.includes('restore'))).toEqual([]);
    expect(readText('docs/operations/backup.md')).toMatch(
      /No route and no button restores a backup.*decisions\/091-no-restore-in-place\.md/s,
    );
  });

  test('has every event, error, setting and permission', () => {
    expect(headings('events.md', '##')).toEqual(eventTypes);
    expect(headings('settings.md', '###').sort()).toEqual(Object.keys(settings).sort());
    expect(headings('permissions.md', '##')).toEqual(Object.keys(permissionCatalogue));
    const errors = [
      ...readText('docs/reference/errors.md')
        .split('## Reasons of messages')[0]!
        .matchAll(/^- `([A-Z_]+)`: /gm),
    ];
    expect(errors.map(([, name]) => name!).sort()).toEqual(Object.keys(errorTable).sort());
  });

  test('has every operation with its route', () => {
    const listed = [...readText('docs/reference/operations.md').matchAll(/^- `([^`]+)`: `([^`]+)` – /gm)].map(([, id, route]) => [
      id,
      route,
    ]);
    const expected = operationIds.map((id) => {
      const { method, path } = operationRoute(operations[id]);
      return [id, `${method.toUpperCase()} ${path}`];
    });
    expect(listed.sort()).toEqual(expected.sort());
  });

  test('documents each row with whole sentences', () => {
    const sentences: [string, string][] = [
      ...Object.entries(eventCatalogue).map(([name, { doc }]): [string, string] => [name, doc]),
      ...Object.entries(errorTable).map(([name, [, sentence]]): [string, string] => [name, sentence]),
      ...Object.entries(settings).map(([name, { doc }]): [string, string] => [name, doc]),
      ...Object.entries<string>(permissionCatalogue),
    ];
    for (const [name, sentence] of sentences) expect([name, sentence]).toEqual([name, expect.stringMatching(/^\S.{9,}[.!?]$/)]);
  });
});

describe('the recipes for contributors', () => {
  test('name files, folders and commands that there are', () => {
    const pages = readdirSync(join(root, 'docs/contributing')).map((name) => `docs/contributing/${name}`);
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };
    const missing = [...pages, 'CONTRIBUTING.md'].flatMap((page) => {
      const text = readText(page);
      const paths = [...text.matchAll(/`((?:[A-Za-z0-9_.-]+\/)+(?:[A-Za-z0-9_.-]+\.[a-z]+)?)`/g)].map(([, path]) => path!);
      const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => join(page, '..', path!));
      const commands = [...text.matchAll(/npm run ([a-z:-]+)/g)].map(([, name]) => name!);
      return [
        // `dist/` is built, `logs/` is made by a run.
        ...paths.filter((path) => !/^(dist|logs)\/$/.test(path) && !existsSync(join(root, path))),
        ...links.filter((path) => !existsSync(join(root, path))),
        ...commands.filter((name) => !(name in scripts)),
      ].map((name) => `${page}: ${name}`);
    });
    expect(missing).toEqual([]);
  });
});

describe('the webhooks of the OpenAPI document', () => {
  interface Document {
    webhooks: Record<string, { post: { description: string; requestBody: { content: Record<string, { schema: unknown }> } } }>;
    components: { schemas: Record<string, unknown> };
  }
  const read = async (): Promise<Document> => (await rig.call('GET', '/openapi.json', { key: null })).body as unknown as Document;

  test('are the events, each with its sentence, its permission and its payload', async () => {
    const { webhooks } = await read();
    expect(Object.keys(webhooks)).toEqual(eventTypes);
    for (const type of eventTypes) {
      const { description, requestBody } = webhooks[type]!.post;
      expect(description).toBe(`${eventCatalogue[type].doc}\n\nPermission: \`${eventCatalogue[type].permission}\``);
      expect(requestBody.content['application/json']!.schema).toMatchObject({
        properties: { type: { const: type }, data: expect.anything() },
      });
    }
  });

  test('every reference in the document leads to a schema', async () => {
    const document = await read();
    const names = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name!);
    expect(names).toContain('Message');
    expect([...new Set(names)].filter((name) => !(name in document.components.schemas))).toEqual([]);
  });
});

describe('the collection for Postman', () => {
  interface Pair {
    key: string;
    value: string;
    disabled?: boolean;
  }
  interface Item {
    name: string;
    request: {
      method: string;
      auth?: { type: string };
      header: Pair[];
      url: { raw: string; path: string[]; query?: Pair[]; variable: Pair[] };
      body?: { raw: string };
    };
  }
  const read = async (): Promise<{ variable: Pair[]; item: { name: string; item: Item[] }[] }> => {
    const reply = await fetch(`${rig.url}/api/docs/postman.json`);
    expect(reply.headers.get('content-disposition')).toContain('chasqui.postman_collection.json');
    return (await reply.json()) as Awaited<ReturnType<typeof read>>;
  };

  test('has every route once, with its first example, and asks for the key only where one is needed', async () => {
    const items = (await read()).item.flatMap(({ item }) => item);
    expect(items.map(({ request }) => `${request.method} /${request.url.path.join('/')}`).sort()).toEqual(
      rig.routes.map(({ method, path }) => `${method.toUpperCase()} ${path.replace(/(.)\/$/, '$1')}`).sort(),
    );
    for (const route of rig.routes) {
      const { request } = items.find(
        ({ request: { method, url } }) =>
          method === route.method.toUpperCase() && `/${url.path.join('/')}` === route.path.replace(/(.)\/$/, '$1'),
      )!;
      expect([route.id, request.auth?.type === 'noauth']).toEqual([route.id, route.auth === 'pub']);
      expect(request.url.variable.map(({ key, value }) => [key, value !== '' && value !== 'undefined'])).toEqual(
        [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => [name, true]),
      );
      const [example] = route.consumes === 'none' ? [] : Object.values(requestExamplesOf(route));
      const body = request.body && (JSON.parse(request.body.raw) as unknown);
      expect([route.id, body]).toEqual([route.id, example && JSON.parse(withSoon(JSON.stringify(example), new Date()))]);
    }
  });

  test('sends a message with nothing filled in but the key', async () => {
    const { variable, item } = await read();
    const { request } = item
      .flatMap((folder) => folder.item)
      .find(({ request: { url } }) => url.raw.endsWith('/messages/send-text'))!;
    const variables = Object.fromEntries(variable.map(({ key, value }) => [key, value]));
    expect(variables).toEqual({ baseUrl: `${rig.url}/api/v1`, apiKey: '' });
    const reply = await fetch(request.url.raw.replace('{{baseUrl}}', variables['baseUrl']!), {
      method: request.method,
      headers: {
        'X-API-Key': rig.apiKey,
        ...Object.fromEntries(request.header.filter(({ disabled }) => !disabled).map(({ key, value }) => [key, value])),
      },
      body: request.body!.raw,
    });
    expect(reply.status).toBe(200);
  });
});

/** The first route whose path fits, as Express would choose it. */
function routeFor({ method, url }: CurlCommand): AnyRoute | undefined {
  const path = url.pathname.replace(/^\/api\/v1/, '');
  return rig.routes.find(
    (route) =>
      route.method.toUpperCase() === method &&
      new RegExp(`^${route.path.replace(/(.)\/$/, '$1').replace(/:\w+/g, '[^/]+')}$`).test(path),
  );
}

describe('the commands of the guides', () => {
  test.each([
    'README.md',
    'INTEGRATION_GUIDE.md',
    'docs/webhooks.md',
    'docs/troubleshooting.md',
    'docs/operations/monitoring.md',
  ])('in %s call routes that exist, with a query and a body that they accept', (document) => {
    const commands = curlCommands(document);
    expect(commands.length).toBeGreaterThan(0);
    const problems = commands.flatMap((command) => {
      const { method, url, headers, data, parts } = command;
      if (['/health', '/metrics'].includes(url.pathname)) return [];
      const problem = (what: unknown): unknown[] => [[`${method} ${url.pathname}`, what]];
      const route = routeFor(command);
      if (!url.pathname.startsWith('/api/v1/') || !route) return problem('there is no such route');
      if (route.auth !== 'pub' && !headers['authorization']?.startsWith('ApiKey chq_')) return problem('the key is missing');
      const query = route.query.safeParse(Object.fromEntries(url.searchParams));
      if (!query.success) return problem(query.error.issues);
      if (parts.length > 0) return route.consumes === 'upload' ? [] : problem('takes no form');
      if (data === null || data.startsWith('@')) return [];
      if (route.consumes === 'none') return data === '{}' ? [] : problem('takes no body');
      if (headers['content-type'] !== 'application/json') return problem('the type of the body is missing');
      const body = route.body.safeParse(JSON.parse(withSoon(data, new Date())));
      return body.success ? [] : problem(body.error.issues);
    });
    expect(problems).toEqual([]);
  });
});
