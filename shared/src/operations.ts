import { z } from 'zod';
import type { Permission } from './permissions.js';
import { paging } from './paging.js';
import { chat, numberCheck, profile } from './resources.js';
import { defineRoute, type Method } from './route.js';
import type { ErrorCode } from './errors.js';

/**
 * Operations that are passed through to WhatsApp: check the caller, find the session, run it in the page, return the result. One row here and
 * one function of the same id in `whatsapp-service/src/engine/wwebjs/operations/`; the backend mounts the rows, the worker
 * dispatches them through one internal route, OpenAPI, `GET /capabilities` and the isolation tests loop over them.
 */
export interface Operation<In extends z.ZodType = z.ZodType, Out extends z.ZodType = z.ZodType> {
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

function defineOperation<
  P extends z.ZodRawShape = NoFields,
  Q extends z.ZodRawShape = NoFields,
  B extends z.ZodRawShape = NoFields,
  O extends z.ZodType = z.ZodType,
>(row: {
  id: string;
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

export const operations = {
  'contacts.check': defineOperation({
    id: 'contacts.check',
    method: 'post',
    path: '/contacts/check',
    summary: 'Which numbers are registered on WhatsApp',
    permission: 'contacts.check',
    body: { numbers: z.array(z.string().min(1).max(80)).min(1).max(100) },
    takesCountry: true,
    output: z.array(numberCheck),
    effect: 'read',
  }),
  'chats.list': defineOperation({
    id: 'chats.list',
    method: 'get',
    path: '/chats',
    summary: 'Chats as the page holds them, newest first',
    permission: 'chats.read',
    query: {
      type: z.enum(['private', 'group', 'channel']).optional(),
      archived: z.stringbool().optional(),
      ...paging,
    },
    output: z.array(chat),
    effect: 'read',
  }),
  'profile.get': defineOperation({
    id: 'profile.get',
    method: 'get',
    path: '/profile',
    summary: 'The linked account’s own number, name, about text and picture',
    permission: 'profile.read',
    output: profile,
    effect: 'read',
  }),
} as const;

export type OperationId = keyof typeof operations;
export type OperationInput<K extends OperationId> = z.output<(typeof operations)[K]['input']>;
export type OperationOutput<K extends OperationId> = z.output<(typeof operations)[K]['output']>;

export const operationIds = Object.keys(operations) as OperationId[];
export const isOperationId = (id: string): id is OperationId => Object.hasOwn(operations, id);

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
export function operationRoute(row: (typeof operations)[OperationId]) {
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
