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
  settings,
} from '@chasqui/shared';
import { startRig, type Rig } from './support/backend.js';
import { readText, root } from './support/source.js';

/** What `npm run docs` and the OpenAPI document say, compared with a running backend. That the pages are current is a check of `npm test`. */

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig?.close());

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
