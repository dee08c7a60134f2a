import { z } from 'zod';

export type Json = Record<string, unknown>;

/** What the parts of a document share: named schemas, failures and the examples of replies. */
export interface Parts {
  schemas: Json;
  failures: Json;
  replies: Readonly<Record<string, unknown>>;
}

/** JSON Schemas that were made, because a route's schemas are read for its document, its examples and its descriptions. */
const made = { input: new WeakMap<z.ZodType, Json>(), output: new WeakMap<z.ZodType, Json>() };

/** The JSON Schema of a zod schema. It is shared: do not change it. */
export function jsonSchemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const known = made[io].get(schema);
  if (known) return known;
  const json = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  made[io].set(schema, json);
  return json;
}

/** JSON Schema of a zod schema; the named ones (`.meta({id})`) are moved into `schemas` and referred to. */
export function schemaOf(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const { $schema: _, $defs, ...json } = jsonSchemaOf(schema, io) as Json & { $defs?: Record<string, Json> };
  for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = relocate(definition) as Json;
  const named = json as { id?: string };
  if (named.id && io === 'output') {
    schemas[named.id] = relocate(json) as Json;
    return { $ref: `#/components/schemas/${named.id}` };
  }
  return relocate(json) as Json;
}

/**
 * Points references at the components. Leaves out the pattern of what has a format: `date-time` says more to a reader than an expression of 400
 * characters, from which documentation pages make up dates that no person would write.
 */
function relocate(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relocate);
  if (typeof value !== 'object' || value === null) return value;
  const hasFormat = typeof (value as Json)['format'] === 'string';
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => !(key === 'id' && typeof inner === 'string') && !(key === 'pattern' && hasFormat))
      .map(([key, inner]) =>
        key === '$ref' && typeof inner === 'string'
          ? [key, inner.replace('#/$defs/', '#/components/schemas/')]
          : [key, relocate(inner)],
      ),
  );
}
