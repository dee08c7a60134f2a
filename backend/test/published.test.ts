import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  bulkReasons,
  bulkRecipientStatuses,
  bulkStatuses,
  errorTable,
  eventCatalogue,
  eventTypes,
  messageReasons,
  messageStatuses,
  permissions,
  sessionReasons,
  sessionStatuses,
  settings,
  skipReasons,
  statusOfAck,
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
  path.startsWith('shared/src/') || /contract\.ts$|\/sessions\/recovery\.ts$|\/admin\/tables\.ts$/.test(path);
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

describe('every published setting, code and name has an effect', () => {
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
        // Operations refuse in the page by the code alone.
        if (ts.isCallExpression(node) && /(^|\.)refuse$/.test(node.expression.getText()) && node.arguments[0])
          for (const text of literalsIn(node.arguments[0])) thrown.add(text);
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

  test('every reason and every status is published', () => {
    const ofBulk = [...Object.keys(bulkReasons), ...Object.keys(skipReasons), ...bulkStatuses, ...bulkRecipientStatuses];
    const all = [
      ...Object.keys(sessionReasons),
      ...Object.keys(messageReasons),
      ...sessionStatuses,
      ...messageStatuses,
      ...ofBulk,
    ];
    // The statuses of acknowledgements are returned by a function of the contract, which the product calls.
    const calls = code.some(({ text }) => /\bstatusOfAck\(/.test(text));
    const ofAcks = calls ? [1, 2, 3, 4].map((ack) => String(statusOfAck(ack))) : [];
    expect(missingFrom(new Set([...given, ...ofAcks]), all)).toEqual([]);
  });
});

describe('the fields that routes publish have an effect', () => {
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
    const shapes = [...rig.routes.map(({ reply }) => reply), ...Object.values(eventCatalogue).map(({ data }) => data)].flatMap(
      shapesOf,
    );
    const written = writtenFields(product);
    const literals = objectLiterals(code);
    const unused = shapes.flatMap(({ names, nullable }) =>
      nullable
        .filter((name) => !written.has(name) || isAlwaysNull(literals, names, name))
        .map((name) => `${name} of {${names.join(', ')}}`),
    );
    expect([...new Set(unused)]).toEqual([]);
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
  type?: string | string[];
  $defs?: Record<string, JsonSchema>;
};

/** Zod writes `anyOf`, or for plain types a list of them. */
const isNullable = ({ type, anyOf }: JsonSchema): boolean =>
  type === 'null' || (Array.isArray(type) && type.includes('null')) || (anyOf ?? []).some(isNullable);

interface Shape {
  names: string[];
  nullable: string[];
}

/** The objects of a schema, at every depth, with their fields that may be null. */
function shapesOf(schema: z.ZodType): Shape[] {
  const shapes: Shape[] = [];
  const walk = (node: JsonSchema): void => {
    const fields = Object.entries(node.properties ?? {});
    const nullable = fields.filter(([, field]) => isNullable(field)).map(([name]) => name);
    if (nullable.length > 0) shapes.push({ names: fields.map(([name]) => name), nullable });
    for (const [, field] of fields) walk(field);
    for (const inner of [...(node.anyOf ?? []), ...(node.items ? [node.items] : []), ...Object.values(node.$defs ?? {})])
      walk(inner);
  };
  walk(z.toJSONSchema(schema, { io: 'output', unrepresentable: 'any' }) as JsonSchema);
  return shapes;
}

/** The properties of each object literal in the sources, and whether they are written as `null`. A spread is `...`. */
function objectLiterals(sources: readonly Source[]): Map<string, boolean>[] {
  const found: Map<string, boolean>[] = [];
  for (const { tree } of sources)
    visit(tree, (node) => {
      if (!ts.isObjectLiteralExpression(node)) return;
      const properties = node.properties.map((property): [string, boolean] => [
        property.name?.getText().replaceAll(/['"]/g, '') ?? '...',
        ts.isPropertyAssignment(property) && property.initializer.kind === ts.SyntaxKind.NullKeyword,
      ]);
      found.push(new Map(properties));
    });
  return found;
}

/**
 * Whether each literal that makes an object of this shape writes `null` into the field. A field of the same name in another object does not
 * count. A literal makes the object when it names exactly its fields.
 */
function isAlwaysNull(literals: readonly Map<string, boolean>[], names: readonly string[], field: string): boolean {
  const made = literals.filter((one) => one.size === names.length && names.every((name) => one.has(name)));
  return made.length > 0 && made.every((one) => one.get(field));
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
