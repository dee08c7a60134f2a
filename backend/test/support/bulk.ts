import { newId, type BulkJobDetails, type BulkRecipientResource } from '@chasqui/shared';
import { createJobContents } from '../../src/bulk/accept/content.js';
import { BulkJob, BulkRecipient, noCounts } from '../../src/bulk/bulk.entity.js';
import type { createFeeder } from '../../src/bulk/feed/feeder.js';
import type { Database } from '../../src/db/database.js';
import { insertRow, insertRows } from '../../src/db/rows.js';
import { createSealer } from '../../src/lib/sealer.js';
import type { Session } from '../../src/sessions/session.entity.js';
import type { Core } from './core.js';
import { eventually } from './eventually.js';

/** Bulk jobs in scenarios. */

export const phoneOfRow = (row: number): string => `+5511988${String(row).padStart(6, '0')}`;
export const peopleFor = (count: number, first = 0) =>
  Array.from({ length: count }, (_, row) => ({
    recipient: phoneOfRow(first + row),
    variables: { name: `Person ${first + row}` },
  }));

export const hello = { type: 'text', message: 'Hello {{name}}', gapMs: [0, 0] };

export async function startJob(
  core: Core,
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): Promise<BulkJobDetails> {
  const reply = await core.post('/messages/bulk', { ...hello, ...body }, headers);
  if (reply.status !== 202) throw new Error(`The job was refused: ${JSON.stringify(reply.body)}`);
  return reply.body.data as BulkJobDetails;
}

export const jobOf = async (core: Core, id: string): Promise<BulkJobDetails> =>
  (await core.get(`/messages/bulk/${id}`)).body.data as BulkJobDetails;

export const rowsOf = async (core: Core, id: string, query = ''): Promise<BulkRecipientResource[]> =>
  (await core.get(`/messages/bulk/${id}/recipients?limit=200${query}`)).body.data as BulkRecipientResource[];

/** Waits until the job has a status, and a reason if one is given. */
export const jobIs = (core: Core, id: string, status: string, reason?: string | null): Promise<BulkJobDetails> =>
  eventually(`job ${id} to be ${status} ${reason ?? ''}`, async () => {
    const job = await jobOf(core, id);
    return job.status === status && (reason === undefined || (job.reason?.code ?? null) === reason) ? job : null;
  });

/** What left, by recipient. */
export const leftTo = (core: Core): Map<string, string[]> => {
  const left = new Map<string, string[]>();
  for (const { command } of core.worker.left) {
    const text = command.content.type === 'text' ? command.content.message : command.content.type;
    left.set(command.recipient, [...(left.get(command.recipient) ?? []), text]);
  }
  return left;
};

/** The counts must add up to the total, and be those of the recipients' states. */
export async function requireTrueCounts(core: Core, id: string): Promise<void> {
  const { counts } = await jobOf(core, id);
  const { total, ...states } = counts;
  const found: Record<string, number> = Object.fromEntries(Object.keys(states).map((name) => [name, 0]));
  for (const { status } of await rowsOf(core, id)) found[status] = (found[status] ?? 0) + 1;
  if (JSON.stringify(found) !== JSON.stringify(states))
    throw new Error(`Counts ${JSON.stringify(states)}, rows ${JSON.stringify(found)}`);
  const sum = Object.values(states).reduce((one, other) => one + other, 0);
  if (sum !== total) throw new Error(`The counts add up to ${sum}, not to ${total}.`);
}

/** Writes a job that runs, as if it had been accepted and never looked at. */
export async function insertJob(
  database: Database,
  { id: sessionId, accountId }: Session,
  total: number,
  now: Date,
): Promise<BulkJob> {
  const id = newId(now.getTime());
  const unset = {
    name: null,
    reasonCode: null,
    waitingUntil: null,
    sealed: null,
    mediaId: null,
    templateId: null,
    finishedAt: null,
  };
  const job: BulkJob = {
    id,
    accountId,
    sessionId,
    ...noCounts,
    ...unset,
    status: 'running',
    type: 'text',
    content: { type: 'text', fields: { message: 'Hello {{name}}' }, media: null },
    isSealed: false,
    gapMinMs: 2_000,
    gapMaxMs: 6_000,
    checkNumbers: false,
    linkedAccountNumber: 1,
    total,
    pending: total,
    nextAt: null,
    fedAt: null,
    scheduledAt: null,
    startedAt: now,
    createdAt: now,
  };
  await database.write.run(async (tx) => {
    await insertRow(tx, BulkJob, job);
    await insertRows(
      tx,
      BulkRecipient,
      Array.from({ length: total }, (_, position): BulkRecipient => {
        const phone = `55119${String(position).padStart(8, '0')}`;
        return {
          jobId: id,
          position,
          accountId,
          recipient: phone,
          address: `${phone}@c.us`,
          variables: { name: `Person ${position}` },
          sealed: null,
          status: 'pending',
          reasonCode: null,
          reasonText: null,
          messageId: null,
          isChecked: false,
        };
      }),
    );
  });
  return job;
}

type FeederParts = Parameters<typeof createFeeder>[1];

/** What a feeder needs besides its state, for tests without messages, quotas and people. `accept` is called with the session of each message. */
export const feederParts = (accept: (sessionId: string) => string): Omit<FeederParts, 'state'> => ({
  messages: {
    acceptWithin: async (_, session) => ({ id: accept(session.id) }) as never,
    contentColumns: async () => ({}),
    countryOf: () => undefined,
  },
  messageState: {} as never,
  quotas: {} as never,
  contents: createJobContents(createSealer(`k:${Buffer.alloc(32, 1).toString('base64')}`)),
  optOuts: { among: async () => new Set() },
  checkNumbers: async () => [],
  quietUntil: () => null,
  localeOf: async () => ({ language: 'en', timezone: 'UTC' }),
});
