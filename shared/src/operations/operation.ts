import { z } from 'zod';
import type { ErrorCode, FieldError } from '../errors.js';
import { fileSourceFields } from '../message-types/file-fields.js';
import type { MediaType } from '../message-types/index.js';
import type { Permission } from '../permissions.js';
import { defineRoute, type Method } from '../route.js';

/** What a field that names people or chats may name. `chat`: a person, a group or a channel. */
export type AddressRole = 'person' | 'group' | 'channel' | 'chat';

/** One row of the operations table. Rows are in the file of their noun; see `index.ts`. */
export interface Operation<In extends z.ZodType = z.ZodType, Out extends z.ZodType = z.ZodType> {
  /** `noun.verb`. The noun names the files of the row and of its function. */
  readonly id: string;
  readonly method: Method;
  /**
   * `session`: the path is below `/sessions/:sessionId`. `message`: it is below `/messages/:messageId`; the message determines the session, and
   * the input has `whatsappId` and `chatId` of the message. `chatMessage`: the same below `/sessions/:sessionId/chats/:chatId/messages/:messageId`,
   * where the message need not be recorded here.
   */
  readonly scope: 'session' | 'message' | 'chatMessage';
  readonly path: string;
  /** The second route of a `message` operation, below its chat. */
  readonly inChat: ChatRoute | null;
  readonly summary: string;
  readonly permission: Permission;
  /**
   * The path parameters besides `sessionId`, the query and the body. The worker gets all three as one object and parses it again, so a schema that
   * converts a value must also accept the converted value, as `queryFlag` does.
   */
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodObject | null;
  /** Example bodies by a few words. Null: one is made from the schema. */
  readonly examples: Readonly<Record<string, Readonly<Record<string, unknown>>>> | null;
  readonly input: In;
  /** Fields that name people or chats, in any form that a recipient may have; a text or a list. The backend replaces them by WhatsApp's ids. */
  readonly addresses: Readonly<Record<string, AddressRole>>;
  /** Fields that name a message, by our id or WhatsApp's. The backend replaces our id by WhatsApp's. */
  readonly messages: readonly string[];
  /**
   * The type of the file in the request, which is a multipart part `file` or is named by the fields of `fileSourceFields`. The backend reads and
   * checks it; the worker gets its bytes beside the input (`OperationContext.file`). Null: no file.
   */
  readonly file: MediaType | null;
  /** Whether a request need not have the file. */
  readonly isFileOptional: boolean;
  /** Whether the input gets `countryCode`, the calling code for numbers that begin with 0. */
  readonly takesCountry: boolean;
  readonly output: Out;
  /** Of a list with cursors: returns the cursor for the page behind a row. The input has `limit` and `cursor`. Null: the list has no cursors. */
  readonly cursorAfter: ((row: never) => string) | null;
  /** What the route replies with. It is the output unless the row names another schema. */
  readonly reply: z.ZodType;
  /** The status of the reply. */
  readonly status: 200 | 201 | 202;
  /** Whether each call is written to the audit log. */
  readonly isAudited: boolean;
  /** The gateway may repeat a `read`. It sends a `write` once, and after a timeout of a handed-over `write` the effect is unknown. */
  readonly effect: 'read' | 'write';
  /** What `GET /capabilities` reports before a page has been checked. */
  readonly support: 'supported' | 'degraded' | 'unsupported';
  readonly supportReason: string | null;
  readonly errors: readonly ErrorCode[];
}

/** A route of scope `chatMessage`. `query` and `reply` are those of the operation if they are absent. */
export interface ChatRoute {
  /** The id of the route. */
  readonly id: string;
  readonly query?: z.ZodObject;
  readonly reply?: z.ZodType;
}

/** A check of a whole body. `example`: a body that passes it. */
export interface BodyCheck {
  check(body: Readonly<Record<string, unknown>>): FieldError | null;
  example: Readonly<Record<string, unknown>>;
}

const none = z.strictObject({});
type NoFields = Record<never, never>;
/** Not fields of any public request. */
const country = { countryCode: z.string().max(3).optional() };
const ofMessage = { whatsappId: z.string(), chatId: z.string() };
type MessageFields<S> = S extends 'message' | 'chatMessage' ? typeof ofMessage : NoFields;

const addressExamples: Readonly<Record<AddressRole, string>> = {
  person: '+5511999990001',
  group: '120363041234567890@g.us',
  channel: '120363041234567891@newsletter',
  chat: '5511999990001@c.us',
};

/** Adds an example to each field that names people or chats, unless its row has one: the schema does not show what a recipient looks like. */
function withExamples<S extends z.ZodRawShape>(shape: S, addresses: Readonly<Record<string, AddressRole>>): S {
  const fields = Object.entries(shape as unknown as Record<string, z.ZodType>).map(([name, field]): [string, z.ZodType] => {
    const role = addresses[name];
    const known = field.meta();
    if (!role || known?.['examples'] || known?.id) return [name, field];
    const example = addressExamples[role];
    return [name, field.meta({ ...known, examples: [field.safeParse(example).success ? example : [example]] })];
  });
  return Object.fromEntries(fields) as unknown as S;
}

/** Completes a row of the table with its defaults. The type of the input follows from `params`, `query`, `body` and `scope`. */
export function defineOperation<
  const Id extends string,
  P extends z.ZodRawShape = NoFields,
  Q extends z.ZodRawShape = NoFields,
  B extends z.ZodRawShape = NoFields,
  O extends z.ZodType = z.ZodType,
  const E extends 'read' | 'write' = 'read' | 'write',
  const S extends Operation['scope'] = 'session',
>(row: {
  id: Id;
  method: Method;
  /** `session` if absent. */
  scope?: S;
  path: string;
  inChat?: ChatRoute;
  summary: string;
  permission: Permission;
  params?: P;
  query?: Q;
  body?: B;
  /** See `RouteSpec.examples`. */
  examples?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** What the schemas of single fields cannot check. */
  bodyCheck?: BodyCheck;
  /** The backend adds the calling code of the session or the installation to the input: for operations that read numbers. */
  takesCountry?: true;
  /** See `Operation.addresses`. The backend uses the calling code for these fields, whether or not the input gets it. */
  addresses?: Readonly<Record<string, AddressRole>>;
  /** See `Operation.messages`. */
  messages?: readonly string[];
  /** See `Operation.file`. The route gets the fields that name the file; the input does not have them. */
  file?: MediaType;
  isFileOptional?: true;
  output: O;
  /** See `Operation.cursorAfter`. */
  cursorAfter?: (row: z.output<O> extends readonly (infer Row)[] ? Row : never) => string;
  reply?: z.ZodType;
  status?: 201 | 202;
  effect: E;
  /** False for a write that is a part of ordinary messaging, such as "typing". True if absent; reads are never audited. */
  isAudited?: false;
  support?: 'degraded' | 'unsupported';
  supportReason?: string;
  errors?: readonly ErrorCode[];
}) {
  const addresses = row.addresses ?? {};
  const params = row.params && withExamples(row.params, addresses);
  const query = row.query && withExamples(row.query, addresses);
  const body = row.body && withExamples(row.body, addresses);
  const scope = (row.scope ?? 'session') as S;
  const scoped = (scope === 'session' ? {} : ofMessage) as MessageFields<S>;
  const input = z.object({ ...params, ...query, ...body, ...scoped, ...country } as P &
    Q &
    B &
    MessageFields<S> &
    typeof country);
  return {
    ...row,
    scope,
    inChat: row.inChat ?? null,
    examples: row.examples ?? null,
    addresses,
    messages: row.messages ?? [],
    file: row.file ?? null,
    isFileOptional: row.isFileOptional ?? false,
    cursorAfter: row.cursorAfter ?? null,
    reply: row.reply ?? row.output,
    status: row.status ?? 200,
    isAudited: row.effect === 'write' && row.isAudited !== false,
    params: params ? z.object(params) : none,
    query: query ? z.strictObject(query) : none,
    body: body || row.file ? bodyOf({ ...body, ...(row.file ? fileSourceFields : {}) }, row.bodyCheck) : null,
    input,
    takesCountry: row.takesCountry ?? false,
    support: row.support ?? 'supported',
    supportReason: row.supportReason ?? null,
    errors: row.errors ?? [],
  } as const;
}

const bodyOf = (fields: z.ZodRawShape, check: BodyCheck | undefined): z.ZodObject =>
  check ? checked(z.strictObject(fields), check) : z.strictObject(fields);

/** Adds the check of a row to the schema of its body. */
function checked(body: z.ZodObject, { check, example }: BodyCheck): z.ZodObject {
  return body
    .superRefine((value, context) => {
      const problem = check(value);
      if (!problem) return;
      const { path, code, message } = problem;
      context.addIssue({ code: 'custom', path: [path], message, params: { code } });
    })
    .meta({ examples: [example] });
}

/** For a write whose effect only others see: its success is the word of WhatsApp, and `GET /capabilities` says so. */
export const unseen = {
  support: 'degraded',
  supportReason: 'WhatsApp Web does not show what others see: success means that WhatsApp has accepted the change.',
} as const;

/** Errors that every operation may answer with. */
export const operationErrors = [
  'SESSION_NOT_FOUND',
  'SESSION_NOT_CONNECTED',
  'SESSION_SUSPENDED',
  'NOT_SUPPORTED_BY_WHATSAPP',
  'WHATSAPP_ERROR',
  'WORKER_UNAVAILABLE',
  'OPERATION_TIMEOUT',
] as const satisfies readonly ErrorCode[];

/** Errors that operations of effect `write` may also answer with. */
export const changeErrors = ['WHATSAPP_REFUSED'] as const satisfies readonly ErrorCode[];

/** Errors that operations with a file may also answer with. */
export const fileErrors = [
  'FILE_TOO_LARGE',
  'FILE_TYPE_NOT_ALLOWED',
  'FILE_TYPE_MISMATCH',
  'URL_NOT_ALLOWED',
  'MEDIA_URL_FAILED',
  'MEDIA_NOT_FOUND',
  'MEDIA_EXPIRED',
] as const satisfies readonly ErrorCode[];

type OperationRoute = ReturnType<typeof routeOf>;
const routes = new WeakMap<Operation, readonly [OperationRoute, ...OperationRoute[]]>();

/** The public routes of an operation: one, or two if it also has a route below its chat. Built once for each row. */
export function operationRoutes(row: Operation): readonly [OperationRoute, ...OperationRoute[]] {
  const known = routes.get(row);
  if (known) return known;
  const own = routeOf(row, { scope: row.scope, id: row.id });
  const all = row.inChat ? ([own, routeOf(row, { scope: 'chatMessage', ...row.inChat })] as const) : ([own] as const);
  routes.set(row, all);
  return all;
}

/** The route of an operation, without that below its chat. */
export const operationRoute = (row: Operation): OperationRoute => operationRoutes(row)[0];

const scopes = {
  session: { base: '/sessions/:sessionId', params: { sessionId: z.string() } },
  message: { base: '/messages/:messageId', params: { messageId: z.string().min(1).max(160) } },
  chatMessage: {
    base: '/sessions/:sessionId/chats/:chatId/messages/:messageId',
    params: { sessionId: z.string(), chatId: z.string().max(64), messageId: z.string().min(1).max(160) },
  },
} as const satisfies Record<Operation['scope'], { base: string; params: z.ZodRawShape }>;

function routeOf(row: Operation, { scope, id, query, reply }: ChatRoute & Pick<Operation, 'scope'>) {
  const { base, params } = scopes[scope];
  return defineRoute({
    id,
    method: row.method,
    path: `${base}${row.path}`,
    summary: row.summary,
    auth: 'key',
    permission: row.permission,
    params: row.params.extend(params),
    query: query ?? row.query,
    ...(row.effect === 'read' ? { idempotency: { without: 'It has no effect.' } } : {}),
    ...(row.body ? { body: row.body } : {}),
    ...(row.examples ? { examples: row.examples } : {}),
    ...(row.file ? { consumes: 'upload' as const } : {}),
    ...(row.status === 200 ? {} : { status: [row.status] as const }),
    reply: reply ?? row.reply,
    ...(scope === 'message' ? { headers: ['X-Session-Id'] as const } : {}),
    errors: [
      ...operationErrors,
      ...(row.effect === 'write' ? changeErrors : []),
      ...(row.file ? fileErrors : []),
      ...(Object.keys(row.addresses).length > 0 || scope === 'chatMessage' ? (['INVALID_RECIPIENT'] as const) : []),
      ...(scope === 'session' ? [] : (['MESSAGE_NOT_FOUND', 'SESSION_REQUIRED'] as const)),
      ...row.errors,
    ],
  });
}
