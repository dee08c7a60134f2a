import { z } from 'zod';

/**
 * The request headers that change what a route does, one row each. A route names those that it reads in `headers`, and they appear in its OpenAPI
 * parameters. Reading one that is not named is a bug and fails the request. Credentials and `X-Request-Id` belong to every route.
 */
export const requestHeaders = {
  'Idempotency-Key': {
    schema: z.string().min(1).max(255),
    doc: 'A text that you choose and that is new for each request. A repeat with the same key and body gets the first reply, with `Idempotency-Replayed: true`, and has no second effect. While the first request runs: 409 `IDEMPOTENCY_IN_PROGRESS`. With another body: 422 `IDEMPOTENCY_KEY_REUSED`.',
  },
  'Last-Event-ID': {
    schema: z.string().max(20),
    doc: 'The cursor of the last event that was read. Counts before `after`.',
  },
  Prefer: {
    schema: z.string().max(200),
    doc: '`respond-async`: no wait for the outcome. `wait=N`: at most N seconds. `Preference-Applied` of the reply names what was honoured.',
  },
  Range: {
    schema: z.string().max(200),
    doc: 'One range of bytes, such as `bytes=0-1023`: the reply is then 206 with that part. Anything else gets the whole file.',
  },
  'X-Session-Id': {
    schema: z.string().max(64),
    doc: 'Id or name of the session, where neither body nor query names one.',
  },
} as const satisfies Record<string, { schema: z.ZodType; doc: string }>;

export type RequestHeader = keyof typeof requestHeaders;
