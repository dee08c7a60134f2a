import {
  bulkReasons,
  messageReasons,
  phoneOf,
  skipReasons,
  type BulkCounts,
  type BulkJobResource,
  type BulkReason,
  type BulkRecipientResource,
  type Contact,
  type MessageReason,
  type SkipReason,
} from '@chasqui/shared';
import { iso } from '../lib/iso.js';
import type { BulkJob, BulkRecipient } from './bulk.entity.js';

/** Jobs and recipients in the form that the API returns. */

export const countsOf = (job: BulkJob): BulkCounts => {
  const { total, pending, queued, sent, delivered, read, failed, uncertain, skipped, cancelled } = job;
  return { total, pending, queued, sent, delivered, read, failed, uncertain, skipped, cancelled };
};

/** Recipients whose outcome is not known yet. */
export const openOf = ({ pending, queued, uncertain }: BulkJob): number => pending + queued + uncertain;

/**
 * The progress of a job: how many twentieths of its recipients have an outcome. Each further twentieth is published. A cancelled job has few open
 * recipients, and no later event, so each of them is published.
 */
export function stepOf(job: BulkJob): number {
  const done = job.total - openOf(job);
  return job.status === 'cancelled' ? done : Math.floor((done * 20) / Math.max(1, job.total));
}

export function presentJob(job: BulkJob): BulkJobResource {
  return {
    id: job.id,
    name: job.name,
    sessionId: job.sessionId,
    status: job.status,
    reason: job.reasonCode
      ? { code: job.reasonCode, message: bulkReasons[job.reasonCode as BulkReason] ?? job.reasonCode }
      : null,
    waitingUntil: iso(job.waitingUntil),
    type: job.type,
    templateId: job.templateId,
    counts: countsOf(job),
    gapMs: [job.gapMinMs, job.gapMaxMs],
    checkNumbers: job.checkNumbers,
    scheduledAt: iso(job.scheduledAt),
    startedAt: iso(job.startedAt),
    finishedAt: iso(job.finishedAt),
    createdAt: job.createdAt.toISOString(),
  };
}

/** `contact`: what is stored about the person; null if nothing is. */
export function presentRecipient(row: BulkRecipient, contact: Contact | null): BulkRecipientResource {
  const { position, recipient, address, status, reasonCode, reasonText, messageId } = row;
  const isPerson = address !== null && !address.endsWith('@g.us');
  return {
    row: position + 1,
    recipient,
    contact:
      contact ??
      (isPerson ? { id: address, phone: phoneOf(address), lid: address.endsWith('@lid') ? address : null, name: null } : null),
    status,
    reason: reasonCode ? { code: reasonCode, message: reasonText ?? sentenceOf(reasonCode) } : null,
    messageId,
  };
}

const sentenceOf = (code: string): string => skipReasons[code as SkipReason] ?? messageReasons[code as MessageReason] ?? code;
