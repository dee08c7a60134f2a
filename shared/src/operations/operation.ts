import { z } from 'zod';
import type { ErrorCode } from '../errors.js';
import type { Permission } from '../permissions.js';
import { defineRoute, type Method } from '../route.js';

/** One row of the operations table. Rows are in the file of their noun; see `index.ts`. */
export interface Operation<In extends z.ZodType = z.ZodType, Out extends z.ZodType = z.ZodType> {
  /** `noun.verb`. The noun names the files of the row and of its function. */
  readonly id: string;
  readonly method: Method;
  /** Below `/sessions/:sessionId`. */
  readonly path: string;
  readonly summary: string;
  readonly permission: Permission;
  /** Path parameters besides `sessionId`, query and body; the worker gets all three as one object. */
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodObject | null;
  readonly input: In;
  /** Whether the input gets `countryCode`, the calling code for numbers that begin with 0. */
  readonly takesCountry: boolean;
  readonly output: Out;
  /** `read` may be repeated by us; `write` is sent once, and a timeout after hand-over is an unknown effect. */
  readonly effect: 'read' | 'write';
  /** What `GET /capabilities` reports before a page was asked. */
  readonly support: 'supported' | 'degraded' | 'unsupported';
  readonly supportReason: string | null;
  readonly errors: readonly ErrorCode[];
}

const none = z.strictObject({});
type NoFields = Record<never, never>;
/** Not a field of any public request. */
const country = { countryCode: z.string().max(3).optional() };

export function defineOperation<
  const Id extends string,
  P extends z.ZodRawShape = NoFields,
  Q extends z.ZodRawShape = NoFields,
  B extends z.ZodRawShape = NoFields,
  O extends z.ZodType = z.ZodType,
>(row: {
  id: Id;
  method: Method;
  path: string;
  summary: string;
  permission: Permission;
  params?: P;
  query?: Q;
  body?: B;
  /** The backend adds the calling code of the session or the installation to the input: for operations that read numbers. */
  takesCountry?: true;
  output: O;
  effect: 'read' | 'write';
  support?: 'degraded' | 'unsupported';
  supportReason?: string;
  errors?: readonly ErrorCode[];
}) {
  const input = z.object({ ...row.params, ...row.query, ...row.body, ...country } as P & Q & B & typeof country);
  return {
    ...row,
    params: row.params ? z.object(row.params) : none,
    query: row.query ? z.strictObject(row.query) : none,
    body: row.body ? z.strictObject(row.body) : null,
    input,
    takesCountry: row.takesCountry ?? false,
    support: row.support ?? 'supported',
    supportReason: row.supportReason ?? null,
    errors: row.errors ?? [],
  } as const;
}

/** Errors that every operation may answer with (`op` in the API's tables). */
export const operationErrors = [
  'SESSION_NOT_FOUND',
  'SESSION_NOT_CONNECTED',
  'SESSION_SUSPENDED',
  'WHATSAPP_ERROR',
  'WORKER_UNAVAILABLE',
  'OPERATION_TIMEOUT',
] as const satisfies readonly ErrorCode[];

/** The public route of an operation. */
export function operationRoute(row: Operation) {
  return defineRoute({
    id: row.id,
    method: row.method,
    path: `/sessions/:sessionId${row.path}`,
    summary: row.summary,
    auth: 'key',
    permission: row.permission,
    params: row.params.extend({ sessionId: z.string() }),
    query: row.query,
    ...(row.effect === 'read' ? { idempotency: { without: 'It has no effect.' } } : {}),
    ...(row.body ? { body: row.body } : {}),
    reply: row.output as z.ZodType,
    errors: [...operationErrors, ...row.errors],
  });
}
