import {
  AppError,
  fieldErrors,
  fileOptionFields,
  fileSpecOf,
  isMediaType,
  requestOf,
  requestTypes,
  validationError,
  type MessageContent,
  type RequestType,
} from '@chasqui/shared';
import { z } from 'zod';
import type { Sealer } from '../../lib/sealer.js';
import { fill, type Locale, type Variables } from '../../templates/render.js';
import type { BulkJob, BulkRecipient, JobContent } from '../bulk.entity.js';

/**
 * The content of a bulk job: how it is filled for one recipient, and how it is sealed. A filled content is checked like the fields of a single send.
 */

export interface ContentContext {
  locale: Locale;
  countryCode: string | undefined;
}

const requestSchemas = Object.fromEntries(
  requestTypes.map((type) => [type, z.strictObject(requestOf(type).fields)]),
) as unknown as Record<RequestType, z.ZodType<Record<string, unknown>>>;
const optionSchema = z.object(fileOptionFields);

/**
 * Returns the content of the message to one recipient. Throws `MISSING_VARIABLE`, and `VALIDATION_FAILED` for a value that does not fit its format or
 * for a filled content that cannot be sent.
 */
export function contentFor(
  { type, fields, media }: JobContent,
  variables: Variables,
  { locale, countryCode }: ContentContext,
): MessageContent {
  const filled = fill(fields, variables, locale);
  if (media && isMediaType(type)) return fileSpecOf(type).toContent(media, parsed(optionSchema, filled));
  return requestOf(type as RequestType).toContent(parsed(requestSchemas[type as RequestType], filled), { countryCode });
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (!result.success) throw validationError(fieldErrors(result.error.issues));
  return result.data;
}

/** The row and column of a sealed text. The sealer opens the text only with the same place. */
const placeOfJob = (jobId: string): string => `bulk_jobs.content:${jobId}`;
const placeOfRow = (jobId: string, position: number): string => `bulk_recipients.variables:${jobId}:${position}`;

/** Seals and opens the content and the variables of jobs in the storage mode `metadata`. */
export interface JobContents {
  sealJob(jobId: string, content: JobContent): string;
  sealRow(jobId: string, position: number, variables: Variables): string;
  /** Throws `CONTENT_WIPED` if the content was deleted, and the error of the sealer if no key opens it. */
  openJob(job: Pick<BulkJob, 'id' | 'content' | 'sealed'>): JobContent;
  /** Returns the variables of a recipient. Throws the error of the sealer if no key opens them. */
  openRow(row: Pick<BulkRecipient, 'jobId' | 'position' | 'variables' | 'sealed'>): Variables;
  /** Returns the sealed text under the current key; null if there is none or it is sealed under that key already. */
  resealedJob(job: Pick<BulkJob, 'id' | 'sealed'>): string | null;
  resealedRow(row: Pick<BulkRecipient, 'jobId' | 'position' | 'sealed'>): string | null;
}

export function createJobContents(sealer: Sealer): JobContents {
  const reseal = (sealed: string | null, place: string): string | null =>
    sealed !== null && sealer.isStale(sealed) ? sealer.seal(sealer.open(sealed, place), place) : null;
  return {
    sealJob: (jobId, content) => sealer.seal(JSON.stringify(content), placeOfJob(jobId)),
    sealRow: (jobId, position, variables) => sealer.seal(JSON.stringify(variables), placeOfRow(jobId, position)),
    openJob({ id, content, sealed }) {
      if (sealed !== null) return JSON.parse(sealer.open(sealed, placeOfJob(id))) as JobContent;
      if (content === null) throw new AppError('CONTENT_WIPED');
      return content;
    },
    openRow({ jobId, position, variables, sealed }) {
      if (sealed !== null) return JSON.parse(sealer.open(sealed, placeOfRow(jobId, position))) as Variables;
      return variables ?? {};
    },
    resealedJob: ({ id, sealed }) => reseal(sealed, placeOfJob(id)),
    resealedRow: ({ jobId, position, sealed }) => reseal(sealed, placeOfRow(jobId, position)),
  };
}
