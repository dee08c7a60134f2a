import {
  bulkCheck,
  bulkJobDetails,
  bulkRecipient,
  bulkRecipientStatuses,
  bulkStatuses,
  commaList,
  defineRoute,
  exampleIds,
  fileErrors,
  fileOptionFields,
  fileSourceFields,
  instant,
  mediaTypes,
  paging,
  requestOf,
  requestTypes,
  withAliases,
  type ErrorCode,
  type InputOf,
} from '@chasqui/shared';
import { z } from 'zod';
import { sessionAliases, sessionRef } from '../sessions/contract.js';
import { maxGapMs } from './feed/plan.js';

/** The shortest and the longest gap of a job that names none. Milliseconds. */
export const defaultGapMs = [2_000, 6_000] as const;

/** The maximum number of recipients of a job. */
export const maxRecipients = 10_000;

const variables = z.record(z.string().min(1).max(64), z.union([z.string().max(4_096), z.number(), z.boolean()]));
const gap = z.number().int().min(0).max(maxGapMs);

/**
 * The fields of a job besides its message. If a message type has a field `name`, that field is part of the message, and only `jobName` names the job.
 * The order of the fields is part of the stored hashes of requests: append, do not reorder.
 */
const jobFields = {
  sessionId: sessionRef.optional(),
  name: z.string().trim().min(1).max(200).optional(),
  jobName: z
    .string()
    .trim()
    .min(1)
    .max(200)
    .optional()
    .describe('The name of the job, for types that have a `name` of their own.'),
  recipients: z
    .array(z.strictObject({ recipient: z.string().min(1).max(80), variables: variables.optional() }))
    .min(1)
    .max(maxRecipients)
    .optional(),
  csv: z.string().min(1).optional().describe('The text of a CSV file, instead of recipients or of a part `file`.'),
  columns: z
    .strictObject({
      recipient: z.string().max(200).optional().describe('The column of the recipients.'),
      variables: z.record(z.string().min(1).max(64), z.string().max(200)).optional().describe('Variable → column.'),
    })
    .optional()
    .describe(
      'The columns of a CSV file. Absent: the column that is named like a phone number, and each other one as a variable.',
    ),
  scheduledAt: instant.optional(),
  gapMs: z
    .tuple([gap, gap])
    .refine(([min, max]) => min <= max, 'The first gap must not be longer than the second.')
    .optional()
    .describe('The shortest and the longest gap between two messages. Absent: 2 to 6 seconds.'),
  checkNumbers: z.boolean().optional().describe('Ask WhatsApp right before each message whether the number is registered.'),
};

const { mediaBase64: _base64, ...sourceFields } = fileSourceFields;
const typedBodies = requestTypes.map((type) =>
  z.strictObject({ type: z.literal(type), ...jobFields, ...requestOf(type).fields }),
);
const mediaBody = z.strictObject({ type: z.enum(mediaTypes), ...jobFields, ...sourceFields, ...fileOptionFields });
const templateBody = z.strictObject({ type: z.literal('template'), templateId: z.string().min(1).max(36), ...jobFields });
type JobSchema = (typeof typedBodies)[number] | typeof mediaBody | typeof templateBody;
const [firstBody, ...moreBodies] = typedBodies;
const bodies: [JobSchema, ...JobSchema[]] = [firstBody!, ...moreBodies, mediaBody, templateBody];
const typedAliases = Object.assign({}, ...requestTypes.map((type) => requestOf(type).aliases)) as Record<string, string>;

/** Adds the type of a body that has none: `template` if it names a template, `text` otherwise. */
const withType = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !('type' in value)
    ? { ...value, type: 'templateId' in value ? 'template' : 'text' }
    : value;

const jobBody = withAliases(z.preprocess(withType, z.discriminatedUnion('type', bodies)), {
  ...sessionAliases,
  ...typedAliases,
});
/** The examples of `bulk.create` and `bulk.check`. */
const jobExamples = {
  'Two people': {
    type: 'text',
    message: 'Hello {{name}}, your order {{order}} is ready.',
    recipients: [
      { recipient: '+5511999990001', variables: { name: 'Ana', order: 'A-1' } },
      { recipient: '+5511999990002', variables: { name: 'Bia', order: 'A-2' } },
    ],
  },
  'A template, later': {
    type: 'template',
    templateId: exampleIds.templateId,
    recipients: [{ recipient: '+5511999990001', variables: { name: 'Ana' } }],
    scheduledAt: '{{soon}}T18:00:00Z',
  },
} as const;

const refusals: readonly ErrorCode[] = [
  'SESSION_NOT_FOUND',
  'SESSION_REQUIRED',
  'SESSION_NOT_CONNECTED',
  'SESSION_SUSPENDED',
  'MISSING_VARIABLE',
  'TEMPLATE_NOT_FOUND',
  'SCHEDULE_IN_PAST',
  'INTERACTIVE_REJECTED',
  'QUEUE_FULL',
  ...fileErrors,
];
const jobErrors: readonly ErrorCode[] = ['BULK_JOB_NOT_FOUND'];
const changeErrors: readonly ErrorCode[] = [...jobErrors, 'BULK_STATE_CONFLICT'];

/** The maximum number of values in a body, which may name 10,000 recipients with a few dozen variables each. */
const maxValues = 500_000;
const params = z.object({ bulkId: z.string().min(1).max(36) });
const sending = { method: 'post', auth: 'key', permission: 'messages.send' } as const;
const reading = { method: 'get', auth: 'key', permission: 'messages.send' } as const;

export const create = defineRoute({
  id: 'bulk.create',
  examples: jobExamples,
  ...sending,
  path: '/messages/bulk',
  summary: 'Send one message to up to 10,000 recipients, each with their own variables; recipients as JSON or as a CSV file',
  idempotency: 'by_route',
  headers: ['X-Session-Id'],
  body: jobBody,
  consumes: 'upload',
  maxValues,
  status: [202],
  reply: bulkJobDetails,
  errors: [...refusals, 'IDEMPOTENCY_IN_PROGRESS', 'IDEMPOTENCY_KEY_REUSED'],
});
export type JobBody = InputOf<typeof create>['body'];

export const check = defineRoute({
  id: 'bulk.check',
  examples: jobExamples,
  ...sending,
  path: '/messages/bulk/check',
  summary: 'Check a bulk job and store nothing: which rows would be skipped, which make it be refused, and when it would end',
  idempotency: { without: 'Nothing is stored.' },
  headers: ['X-Session-Id'],
  body: jobBody,
  consumes: 'upload',
  maxValues,
  reply: bulkCheck,
  errors: refusals,
});

export const list = defineRoute({
  id: 'bulk.list',
  ...reading,
  path: '/messages/bulk',
  summary: 'Bulk jobs, newest first',
  query: withAliases(
    z.strictObject({ status: commaList(bulkStatuses), sessionId: sessionRef.optional(), ...paging }),
    sessionAliases,
  ),
  reply: z.array(bulkJobDetails),
  errors: ['SESSION_NOT_FOUND'],
});

export const read = defineRoute({
  id: 'bulk.read',
  ...reading,
  path: '/messages/bulk/:bulkId',
  summary: 'One bulk job: its state, its counts, and when it is expected to end',
  params,
  reply: bulkJobDetails,
  errors: jobErrors,
});

export const recipients = defineRoute({
  id: 'bulk.recipients',
  ...reading,
  path: '/messages/bulk/:bulkId/recipients',
  summary: 'The recipients of a bulk job in the order of the list, each with its status',
  params,
  query: z.strictObject({ status: commaList(bulkRecipientStatuses), ...paging }),
  reply: z.array(bulkRecipient),
  errors: jobErrors,
});

export const exported = defineRoute({
  id: 'bulk.export',
  ...reading,
  path: '/messages/bulk/:bulkId/export',
  summary: 'The recipients of a bulk job with their statuses, as CSV',
  params,
  files: ['text/csv'],
  envelope: false,
  errors: jobErrors,
});

const change = <Errors extends readonly ErrorCode[]>(verb: string, summary: string, errors: Errors) =>
  defineRoute({
    id: `bulk.${verb}`,
    ...sending,
    path: `/messages/bulk/:bulkId/${verb}`,
    summary,
    params,
    body: z.strictObject({}),
    reply: bulkJobDetails,
    errors,
  });

export const pause = change('pause', 'Queue no further message of a bulk job', changeErrors);
export const resume = change('resume', 'Continue a paused bulk job', changeErrors);
export const cancel = change(
  'cancel',
  'End a bulk job: recipients without a message get none, and messages that are being sent go on',
  changeErrors,
);
export const retry = change('retry', 'Send the messages of a bulk job that failed again', [...changeErrors, 'CONTENT_WIPED']);
