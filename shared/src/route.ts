import { z } from 'zod';
import type { ErrorCode } from './errors.js';
import type { RequestHeader } from './headers.js';
import type { Permission } from './permissions.js';

export type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';

/**
 * Who may call a route. `pub` anyone; `key` any credential with the permission; `acc` account key or token; `pwd` a token from a
 * password login; `stf` and `adm` the same with the role; `svc` the service key between our own processes.
 */
export type Auth = 'pub' | 'key' | 'acc' | 'pwd' | 'stf' | 'adm' | 'svc';

/**
 * What `Idempotency-Key` does on a POST. `replayed`: the first reply is stored and returned again. `by_route`: the same, and the route itself stores
 * it, in the commit of its effect. Otherwise the header has no effect, and `without` says why; OpenAPI shows it.
 */
export type IdempotencyRule = 'replayed' | 'by_route' | { readonly without: string };

/**
 * One HTTP route. The parser, the handler's types, the OpenAPI document, the typed client and the tests that loop over every
 * route read this object; nothing about a route is written twice.
 */
export interface Route<In = unknown, Out = unknown, Sent = unknown> {
  readonly id: string;
  readonly method: Method;
  /** Express syntax. Below the base on which the routes are mounted. */
  readonly path: string;
  readonly summary: string;
  readonly auth: Auth;
  readonly permission?: Permission;
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType;
  /** `none`: the body is not read. `upload`: JSON, or multipart whose text fields go through the same schema. */
  readonly consumes: 'none' | 'json' | 'upload';
  /** The most values that a body may have. Absent: as usual, see input.ts. */
  readonly maxValues?: number;
  /** Statuses of success; the first is used unless the handler names another. */
  readonly status: readonly [number, ...number[]];
  /** The schema of `data` inside the envelope, or of the whole reply where `envelope` is false. */
  readonly reply: z.ZodType<Out>;
  readonly envelope: boolean;
  /** Media types of replies that are not JSON. */
  readonly files: readonly string[];
  readonly errors: readonly ErrorCode[];
  /** The request headers that the route reads. */
  readonly headers: readonly RequestHeader[];
  /** Null: the method is not POST, and may be repeated as it is. */
  readonly idempotency: IdempotencyRule | null;
  /** Bodies by a few words of what they do. Null: one example is made from the schema of the body. */
  readonly examples: Readonly<Record<string, unknown>> | null;
  /** What a status of success means, where it is more than the number says. */
  readonly replies: Readonly<Partial<Record<number, string>>>;
  /** Types only, never set. */
  readonly $?: { in: In; out: Out; sent: Sent };
}

export interface RouteSpec<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType, O extends z.ZodType> {
  id: string;
  method: Method;
  path: string;
  summary: string;
  auth: Auth;
  permission?: Permission;
  params?: P;
  query?: Q;
  body?: B;
  consumes?: 'json' | 'upload';
  maxValues?: number;
  status?: number | readonly [number, ...number[]];
  reply?: O;
  envelope?: boolean;
  files?: readonly string[];
  errors?: readonly ErrorCode[];
  /** `Idempotency-Key` is added according to `idempotency`. */
  headers?: readonly RequestHeader[];
  /** The idempotency of a POST; `replayed` by default. A POST that needs no credential has no account whose replies could be stored. */
  idempotency?: IdempotencyRule;
  /**
   * Examples of the body by a few words of what they do; the first is shown first. Needed where the schema does not say what a useful request is.
   * A test sends each as it is, with ids of objects that exist, and it must be accepted.
   */
  examples?: Record<string, z.input<B>>;
  /** What a status of success means, where it is more than the number says. */
  replies?: Partial<Record<number, string>>;
}

const nothing = z.strictObject({});
type Nothing = typeof nothing;
const anyParams = z.object({});

export function defineRoute<
  P extends z.ZodType = Nothing,
  Q extends z.ZodType = Nothing,
  B extends z.ZodType = Nothing,
  O extends z.ZodType = z.ZodUnknown,
>(spec: RouteSpec<P, Q, B, O>) {
  const { status = 200, body, consumes, headers = [], ...rest } = spec;
  const idempotency = idempotencyOf(spec);
  const route = {
    params: anyParams,
    query: nothing,
    reply: z.unknown(),
    envelope: true,
    files: [],
    errors: [],
    examples: null,
    replies: {},
    ...rest,
    body: body ?? nothing,
    consumes: consumes ?? (body ? 'json' : 'none'),
    idempotency,
    headers: isRepeatable(idempotency) ? [...headers, 'Idempotency-Key'] : headers,
    status: typeof status === 'number' ? ([status] as const) : status,
  };
  // The only cast: the defaults above complete the object, and the type parameters are what the schemas parse to.
  return route as unknown as Route<
    { params: z.output<P>; query: z.output<Q>; body: z.output<B> },
    z.output<O>,
    RouteInput<z.input<P>, z.input<Q>, z.input<B>>
  >;
}

const noAccount = 'The request has no account to keep a reply for.';
const isRepeatable = (rule: IdempotencyRule | null): boolean => rule === 'replayed' || rule === 'by_route';

function idempotencyOf({
  method,
  auth,
  idempotency,
}: Pick<RouteSpec<never, never, never, never>, 'method' | 'auth' | 'idempotency'>) {
  if (method !== 'post') return null;
  if (auth === 'pub' || auth === 'svc') return { without: noAccount };
  return idempotency ?? 'replayed';
}

/** The input of a call of the typed client. */
export interface RouteInput<P, Q, B> {
  params?: P;
  query?: Q;
  body?: B;
}

// `any`, because a list of routes contains routes of every input and output.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnyRoute = Route<any, any, any>;
export type InputOf<R extends AnyRoute> = NonNullable<R['$']>['in'];
export type OutputOf<R extends AnyRoute> = NonNullable<R['$']>['out'];
export type SentOf<R extends AnyRoute> = NonNullable<R['$']>['sent'];

/** Accepts fields under other names too. A request with both names and different values is refused. */
export function withAliases<S extends z.ZodType>(schema: S, aliases: Record<string, string>) {
  return z.preprocess((value, context) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const result: Record<string, unknown> = { ...value };
    for (const [alias, name] of Object.entries(aliases)) {
      if (!Object.hasOwn(result, alias)) continue;
      if (result[name] !== undefined && result[name] !== result[alias]) {
        context.issues.push({
          code: 'custom',
          input: value,
          path: [alias],
          message: `Differs from ${name}. Send one of the two.`,
        });
      } else {
        result[name] = result[alias];
      }
      delete result[alias];
    }
    return result;
  }, schema);
}
