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

/** A header that every route reads. */
export const requestIdHeader = {
  name: 'X-Request-Id',
  schema: z.string().max(128),
  doc: 'An id of your own for this request: letters, digits, `.`, `_` and `-`. The reply and the log have it. Absent: one is made.',
} as const;

/** The headers of replies, one row each. OpenAPI names them where they occur, and a page of another origin may read them. */
export const replyHeaders = {
  'X-Request-Id': { schema: z.string(), doc: 'The id of the request. Name it in a report.' },
  'RateLimit-Limit': {
    schema: z.number().int(),
    doc: 'The requests that the tightest limit allows. Absent where nothing is limited.',
  },
  'RateLimit-Remaining': { schema: z.number().int(), doc: 'The requests that are left.' },
  'RateLimit-Reset': { schema: z.number().int(), doc: 'The seconds until all are available again.' },
  'X-RateLimit-Limit': { schema: z.number().int(), doc: 'The same as `RateLimit-Limit`.' },
  'X-RateLimit-Remaining': { schema: z.number().int(), doc: 'The same as `RateLimit-Remaining`.' },
  'X-RateLimit-Reset': { schema: z.number().int(), doc: 'The time of the reset, in seconds since 1970.' },
  'Retry-After': {
    schema: z.number().int(),
    doc: 'The seconds to wait before the next attempt. Absent where waiting does not help.',
  },
  'Idempotency-Replayed': {
    schema: z.literal('true'),
    doc: 'This is the stored reply of an earlier request with the same `Idempotency-Key`; nothing was done again.',
  },
  'Preference-Applied': { schema: z.string(), doc: 'What of `Prefer` was honoured.' },
  'Accept-Ranges': { schema: z.literal('bytes'), doc: '`Range` may ask for a part of the file.' },
  'Content-Range': { schema: z.string(), doc: 'Which bytes these are, and how many the file has.' },
} as const satisfies Record<string, { schema: z.ZodType; doc: string }>;

export type ReplyHeader = keyof typeof replyHeaders;
