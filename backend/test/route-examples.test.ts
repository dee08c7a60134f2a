import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exampleOf, operationIds, requestExamplesOf } from '@chasqui/shared';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { normalised, shapeOf } from './support/reply-example.js';
import { inOrder, startRouteWorld, type RouteWorld } from './support/route-world.js';
import { root } from './support/source.js';

/**
 * Every example of a request, sent as the documentation prints it, to a whole backend. Only ids and addresses of things that a reader has to have
 * first are replaced by some that exist here. The replies are compared with their schemas, and with the stored examples of replies:
 * `UPDATE_EXAMPLES=1 npm test -- backend/test/route-examples` stores those of this run.
 */

const storedFile = join(root, 'backend/static/reply-examples.json');
const isUpdate = process.env['UPDATE_EXAMPLES'] === '1';

/** Routes whose example cannot succeed here, each with the reason. The error must be one that the route declares. */
const refused: Record<string, string> = {
  'sessions.passkey': 'Only a session that WhatsApp asks for a passkey has one.',
  'sessions.answerPasskey': 'The same.',
  'keys.claim': 'Only the successor of a rotated key is collected.',
  'sessionKeys.claim': 'The same.',
  'bulk.retry': 'Only a job with failed messages has something to send again.',
  'auth.signOut': 'Only a request with the cookie of a sign-in has something to end.',
  'admin.backups.create': 'This backend has no BACKUP_KEY.',
  'admin.backups.read': 'There is no backup.',
  'admin.backups.file': 'The same.',
  'admin.backups.delete': 'The same.',
  'auth.register': 'Registration is closed unless the operator opens it.',
};
/** Whose reply is shown, where it is not that to the first example: a session that is linked already answers without a QR code. */
const shownExamples: Record<string, string> = { 'sessions.init': 'A named session' };
let world: RouteWorld;
let stored: Record<string, unknown> = {};
const seen: Record<string, unknown> = {};
beforeAll(async () => {
  world = await startRouteWorld();
  stored = isUpdate ? {} : (JSON.parse(readFileSync(storedFile, 'utf8')) as Record<string, unknown>);
}, 120_000);
afterAll(async () => {
  if (isUpdate) writeFileSync(storedFile, `${JSON.stringify(seen, null, 1)}\n`);
  await world?.close();
});

describe('the examples of requests', () => {
  test('are accepted as they are printed, and every reply fits its schema', async () => {
    const problems: unknown[] = [];
    for (const route of inOrder(world.core.rig.routes))
      for (const [words, body] of Object.entries(requestExamplesOf(route))) {
        const reply = await world.send(route, body);
        const isRefused = reply.status >= 400;
        if (isRefused !== route.id in refused) problems.push([route.id, words, reply.status, reply.body.error ?? reply.cause]);
        if (isRefused || (route.files.length > 0 && !route.envelope)) continue;
        const data = route.envelope ? reply.body.data : reply.body;
        const parsed = route.reply.safeParse(data);
        if (!parsed.success && typeof data !== 'string') problems.push([route.id, 'reply', parsed.error.issues.slice(0, 2)]);
        if (!(operationIds as readonly string[]).includes(route.id) && typeof data === 'object')
          if (!(route.id in seen) || words === shownExamples[route.id]) seen[route.id] = normalised(data);
      }
    expect(problems).toEqual([]);
  }, 240_000);
});

describe('the examples of replies', () => {
  test('that are stored are of routes that answered, fit their schemas, and have the fields of the answers', () => {
    if (isUpdate) return;
    expect(Object.keys(stored).length).toBeGreaterThan(100);
    expect(Object.keys(stored).filter((id) => !(id in seen))).toEqual([]);
    for (const route of world.core.rig.routes.filter(({ id }) => id in stored)) {
      expect([route.id, route.reply.safeParse(stored[route.id]).error?.issues]).toEqual([route.id, undefined]);
      expect([route.id, shapeOf(stored[route.id])]).toEqual([route.id, shapeOf(seen[route.id])]);
    }
  });

  test('that are not stored are made from their schemas, and fit them', () => {
    for (const route of world.core.rig.routes.filter(
      ({ id, files, envelope }) => !(id in stored) && !(files.length > 0 && !envelope),
    ))
      expect([route.id, route.reply.safeParse(exampleOf(route.reply, 'output')).error?.issues]).toEqual([route.id, undefined]);
  });
});

describe('the document', () => {
  interface Operation {
    operationId: string;
    requestBody?: { content: Record<string, { examples?: Record<string, { value: unknown }> }> };
    parameters: { name?: string; required?: boolean; example?: unknown; $ref?: string }[];
    responses: Record<
      string,
      { description?: string; $ref?: string; content?: Record<string, { example?: unknown; schema: { format?: string } }> }
    >;
  }
  test('has an example of every body and of every path parameter, and says what each reply is', async () => {
    const { body } = await world.core.rig.call('GET', '/openapi.json', { key: null });
    const { paths } = body as unknown as { paths: Record<string, Record<string, Operation>> };
    const all = Object.values(paths).flatMap((methods) => Object.values(methods));
    expect(all.length).toBeGreaterThan(250);
    const wrong = all.flatMap((operation) => {
      const json = operation.requestBody?.content['application/json'];
      const success = Object.entries(operation.responses).filter(([status]) => status.startsWith('2'));
      return [
        ...(json && Object.keys(json.examples ?? {}).length === 0 ? ['no example of the body'] : []),
        ...operation.parameters
          .filter(({ required, example }) => required && (example === undefined || example === 'x'))
          .map(({ name }) => `no example of ${name!}`),
        ...success.filter(([, { description }]) => (description ?? '').length < 20).map(([status]) => `${status} says nothing`),
        ...success.flatMap(([status, { content }]) =>
          // A file of that type has none.
          content?.['application/json']?.schema.format !== 'binary' &&
          content?.['application/json']?.example === undefined &&
          content?.['application/json']
            ? [`no example of ${status}`]
            : [],
        ),
      ].map((problem) => `${operation.operationId}: ${problem}`);
    });
    expect(wrong).toEqual([]);
  });

  test('has no body that begins with an invented text', () => {
    // The smallest text that a schema allows is no example.
    const isInvented = (value: unknown): boolean =>
      typeof value === 'string'
        ? /^x+$/.test(value)
        : typeof value === 'object' && value !== null && Object.values(value).some(isInvented);
    const invented = world.core.rig.routes.filter(
      (route) => route.consumes !== 'none' && Object.values(requestExamplesOf(route)).some(isInvented),
    );
    expect(invented.map(({ id }) => id)).toEqual([]);
  });

  test('shows no empty body where the route has fields', () => {
    const empty = world.core.rig.routes.filter((route) => {
      const { properties = {} } = z.toJSONSchema(route.body, { io: 'input', unrepresentable: 'any' }) as { properties?: object };
      const first = Object.values(requestExamplesOf(route));
      return (
        Object.keys(properties).length > 0 && first.length < 2 && first.every((body) => Object.keys(body as object).length === 0)
      );
    });
    expect(empty.map(({ id }) => id)).toEqual([]);
  });
});
