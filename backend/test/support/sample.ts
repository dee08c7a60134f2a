import { z } from 'zod';

/** The part of JSON Schema that our schemas produce. */
interface JsonSchema {
  type?: string;
  const?: unknown;
  enum?: unknown[];
  examples?: unknown[];
  default?: unknown;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  allOf?: JsonSchema[];
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  minItems?: number;
  minLength?: number;
  format?: string;
  minimum?: number;
  exclusiveMinimum?: number;
}

const formats: Record<string, string> = {
  'date-time': '2026-01-01T00:00:00.000Z',
  date: '2026-01-01',
  email: 'sample@example.com',
  uri: 'https://example.com/',
  uuid: '01890000-0000-7000-8000-000000000000',
};

/**
 * A small valid input of a schema: required fields only, lists as short as they may be. Throws when the schema does not accept it, which
 * happens for patterns and refinements: then give the field an example, `z.string().regex(…).meta({ examples: ['…'] })`.
 */
export function sampleOf(schema: z.ZodType): unknown {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  const sample = build(json, json.$defs ?? {});
  const parsed = schema.safeParse(sample);
  if (parsed.success) return sample;
  const [issue] = parsed.error.issues;
  throw new Error(
    `No sample of ${issue?.path.join('.') || 'the schema'}: ${issue?.message}. Give the field an example with meta().`,
  );
}

function build(schema: JsonSchema, definitions: Record<string, JsonSchema>): unknown {
  const inner = (other: JsonSchema): unknown => build(other, definitions);
  if (schema.examples) return schema.examples[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (schema.default !== undefined) return schema.default;
  if (schema.$ref) return inner(definitions[schema.$ref.replace('#/$defs/', '')] ?? {});
  const [alternative] = schema.anyOf ?? schema.oneOf ?? [];
  if (alternative) return inner(alternative);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map(inner));
  switch (schema.type) {
    case 'object':
      return Object.fromEntries((schema.required ?? []).map((name) => [name, inner(schema.properties?.[name] ?? {})]));
    case 'array':
      return Array.from({ length: schema.minItems ?? 0 }, () => inner(schema.items ?? {}));
    case 'string':
      return formats[schema.format ?? ''] ?? 'x'.repeat(Math.max(1, schema.minLength ?? 1));
    case 'integer':
    case 'number':
      return schema.minimum ?? (schema.exclusiveMinimum ?? -1) + 1;
    case 'boolean':
      return true;
    default:
      return null;
  }
}
