import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  errorTable,
  eventCatalogue,
  eventTypes,
  messageReasons,
  messageStatuses,
  permissions,
  sessionReasons,
  sessionStatuses,
  settings,
} from '@chasqui/shared';
import ts from 'typescript';
import { z } from 'zod';
import { startRig, type Rig } from './support/backend.js';
import { expansionsOf, isCompared, literalsIn, readSources, readText, visit, type Source } from './support/source.js';

/**
 * Nothing is published without effect: what the contract names is compared with what the source does. No list is kept here; a new row without a
 * use fails, and so does the last use of a row that is removed.
 */

const product = readSources(['backend/src', 'whatsapp-service/src', 'shared/src']);
const scripts = readSources(['scripts']);
/** Tables and contracts name things; they do not give them. */
const isContract = ({ path }: Source): boolean =>
  path.startsWith('shared/src/') || /contract\.ts$|\/fates\.ts$|\/admin\/tables\.ts$/.test(path);
const code = product.filter((source) => !isContract(source));
const nginx = readText('docker/nginx-routes.conf');
const missingFrom = (used: ReadonlySet<string>, published: readonly string[]): string[] =>
  published.filter((name) => !used.has(name));

/** Literals that are passed on, returned or written, and what templates can be. */
function givenTexts(sources: readonly Source[]): Set<string> {
  const found = new Set<string>();
  for (const { tree } of sources)
    visit(tree, (node) => {
      if (ts.isStringLiteralLike(node) && !isCompared(node)) found.add(node.text);
      if (ts.isTemplateExpression(node)) for (const text of expansionsOf(node)) found.add(text);
    });
  return found;
}
const given = givenTexts(code);

describe('what is published has an effect', () => {
  test('every setting is read', () => {
    const used = new Set<string>();
    for (const { path, tree, text } of [...product, ...scripts]) {
      if (path === 'shared/src/settings.ts') continue;
      visit(tree, (node) => {
        if (ts.isPropertyAccessExpression(node)) used.add(node.name.text);
      });
      if (path.startsWith('scripts/')) for (const [name] of text.matchAll(/\b[A-Z][A-Z0-9_]{3,}\b/g)) used.add(name);
    }
    expect(missingFrom(used, Object.keys(settings))).toEqual([]);
  });

  test('every error code is thrown', () => {
    const thrown = new Set<string>();
    for (const { tree } of product.filter(({ path }) => !/contract\.ts$|shared\/src\/(errors|worker-api)\.ts$/.test(path))) {
      let isDynamic = false;
      visit(tree, (node) => {
        if (!ts.isNewExpression(node) || node.expression.getText() !== 'AppError') return;
        const literals = literalsIn(node.arguments![0]!);
        for (const text of literals) thrown.add(text);
        if (literals.length === 0) isDynamic = true;
      });
      // `new AppError(code)`: the code is one of those that this module gives.
      if (isDynamic) for (const text of givenTexts([{ tree, path: '', text: '' }])) thrown.add(text);
    }
    // nginx answers in place of a backend that is away.
    for (const [, name] of nginx.matchAll(/"code":"([A-Z_]+)"/g)) thrown.add(name!);
    expect(missingFrom(thrown, Object.keys(errorTable))).toEqual([]);
  });

  test('every event is written', () => {
    expect(missingFrom(given, eventTypes)).toEqual([]);
  });

  test('every reason and every status is given', () => {
    const all = [...Object.keys(sessionReasons), ...Object.keys(messageReasons), ...sessionStatuses, ...messageStatuses];
    expect(missingFrom(given, all)).toEqual([]);
  });
});

describe('what the routes publish has an effect', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
  });
  afterAll(() => rig?.close());

  test('every permission guards a route or an event', () => {
    const guarding = [
      ...rig.routes.flatMap(({ permission }) => permission ?? []),
      ...Object.values(eventCatalogue).map(({ permission }) => permission),
    ];
    expect(missingFrom(new Set<string>(guarding), permissions)).toEqual([]);
  });

  test('every field that may be null is sometimes not', () => {
    const fields = [
      ...rig.routes.flatMap(({ reply }) => nullableFields(reply)),
      ...Object.values(eventCatalogue).flatMap(({ data }) => nullableFields(data)),
    ];
    const written = writtenFields(product);
    expect(missingFrom(written, [...new Set(fields)])).toEqual([]);
  });

  test('a handler reads headers by the contract alone', () => {
    const reading = code.filter(
      ({ text }) => /\bmount\(\w+\./.test(text) && /\breq(uest)?\.(get|header)\(|\breq(uest)?\.headers\b/.test(text),
    );
    expect(reading.map(({ path }) => path)).toEqual([]);
  });
});

type JsonSchema = {
  properties?: Record<string, JsonSchema>;
  anyOf?: JsonSchema[];
  items?: JsonSchema;
  type?: string;
  $defs?: Record<string, JsonSchema>;
};

/** Names of the fields that may be null, at every depth. */
function nullableFields(schema: z.ZodType): string[] {
  const names: string[] = [];
  const walk = (node: JsonSchema): void => {
    for (const [name, field] of Object.entries(node.properties ?? {})) {
      if (field.anyOf?.some(({ type }) => type === 'null')) names.push(name);
      walk(field);
    }
    for (const inner of [...(node.anyOf ?? []), ...(node.items ? [node.items] : []), ...Object.values(node.$defs ?? {})])
      walk(inner);
  };
  walk(z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as JsonSchema);
  return names;
}

/** Names of properties that get a value somewhere which is neither `null` nor only handed on from a field of the same name. */
function writtenFields(sources: readonly Source[]): Set<string> {
  const written = new Set<string>();
  for (const { path, tree, text } of sources) {
    if (/shared\/src\/(resources|events)\.ts$|contract\.ts$/.test(path)) continue;
    visit(tree, (node) => {
      if (ts.isShorthandPropertyAssignment(node)) written.add(node.name.text);
      if (!ts.isPropertyAssignment(node)) return;
      // A table of columns: `read: 'readAt'`.
      if (ts.isStringLiteral(node.initializer)) written.add(node.initializer.text);
      const name = node.name.getText().replaceAll(/['"]/g, '');
      if (node.initializer.kind !== ts.SyntaxKind.NullKeyword && !isHandedOn(node.initializer, name)) written.add(name);
    });
    for (const [, name] of text.matchAll(/"(\w+)" = (?!NULL)/g)) written.add(name!);
  }
  return written;
}

/** `row.name`, `iso(row.name)`: the value is that of a field of the same name. */
function isHandedOn(value: ts.Expression, name: string): boolean {
  if (ts.isPropertyAccessExpression(value)) return value.name.text === name;
  if (ts.isCallExpression(value)) return value.arguments.length > 0 && value.arguments.every((one) => isHandedOn(one, name));
  return false;
}
