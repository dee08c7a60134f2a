import { exampleOf } from '@chasqui/shared';
import type { z } from 'zod';

/**
 * A small valid input of a schema, as the documentation shows it: required fields only. Throws when the schema does not accept it, which
 * happens for patterns and refinements: then give the field an example, `z.string().regex(…).meta({ examples: ['…'] })`.
 */
export function sampleOf(schema: z.ZodType): unknown {
  const sample = exampleOf(schema, 'input');
  const parsed = schema.safeParse(sample);
  if (parsed.success) return sample;
  const [issue] = parsed.error.issues;
  throw new Error(
    `No sample of ${issue?.path.join('.') || 'the schema'}: ${issue?.message}. Give the field an example with meta().`,
  );
}
