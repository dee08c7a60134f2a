import { setTimeout as sleep } from 'node:timers/promises';
import type { Transaction } from '../../db/unit-of-work.js';
import { errorFields, type Log } from '../../lib/log.js';
import type { Deliveries, Outcome } from '../deliveries.js';
import type { Webhook } from '../webhook.entity.js';

/** The changes of the endpoint that are written in the commit of the outcomes. */
export interface EndpointChange {
  fields: Partial<Webhook>;
  /** The receiver answered 410. */
  isGone: boolean;
  /** The circuit closed: pending deliveries become due now. */
  hasClosed: boolean;
}

const batchSize = 256;
const retryMs = { first: 250, longest: 5_000 };

export type Settling = ReturnType<typeof createSettling>;

/**
 * Writes the results of one lane's deliveries: all present ones in one commit, while other attempts are still running. Never rejects.
 * When the database refuses, it keeps the outcomes and repeats until they are written, so that a short outage causes no
 * duplicate. When only one outcome is refused, it is written without the receiver's answer, and the others unchanged.
 *
 * | the process dies | then |
 * | --- | --- |
 * | before the commit | the claim is released, and the event is sent again under its id |
 * | after it, before this process knows | the repeat finds the row changed, and writes nothing |
 */
export function createSettling(parts: {
  webhookId: string;
  deliveries: Pick<Deliveries, 'settle'>;
  log: Log;
  /** Writes the changes of the endpoint. */
  also: (tx: Transaction, change: EndpointChange) => Promise<void>;
  /** Called when the outcomes were written or abandoned. */
  onSettled: (outcomes: readonly Outcome[]) => void;
  isStopped: () => boolean;
}) {
  const { webhookId, deliveries, log, also, onSettled, isStopped } = parts;
  const unchanged = (): EndpointChange => ({ fields: {}, isGone: false, hasClosed: false });
  const waiting: Outcome[] = [];
  let change = unchanged();
  let saving = unchanged();
  let writing: Promise<void> | null = null;
  let isFailing = false;

  const hasWork = (): boolean => waiting.length > 0 || Object.keys(change.fields).length > 0 || change.isGone || change.hasClosed;

  function flush(): void {
    writing ??= drain()
      .catch((error: unknown) => log.error('Results of webhook deliveries were lost.', { webhookId, ...errorFields(error) }))
      .finally(() => (writing = null));
  }

  async function drain(): Promise<void> {
    // One tick of the event loop lets attempts that ended at the same time share a commit.
    await new Promise((resolve) => setImmediate(resolve));
    while (hasWork()) {
      const outcomes = waiting.splice(0, batchSize);
      [saving, change] = [change, unchanged()];
      await write(outcomes, saving);
      saving = unchanged();
      onSettled(outcomes);
    }
  }

  async function write(outcomes: readonly Outcome[], changes: EndpointChange): Promise<void> {
    try {
      return await deliveries.settle(outcomes, (tx) => also(tx, changes));
    } catch (error) {
      log.error('Results of webhook deliveries could not be written; the write is retried.', {
        webhookId,
        ...errorFields(error),
      });
    }
    isFailing = true;
    let left = outcomes;
    let isChangeLeft = true;
    for (let round = 0; left.length > 0 || isChangeLeft; round += 1) {
      if (isStopped() && round > 0) break;
      await sleep(isStopped() ? 100 : Math.min(retryMs.first * 2 ** round, retryMs.longest));
      const refused: Outcome[] = [];
      for (const outcome of left) if (!(await isWritten([outcome], async () => undefined))) refused.push(outcome);
      const isChangeRefused: boolean = isChangeLeft && !(await isWritten([], (tx) => also(tx, changes)));
      // The database works when anything else was written, the endpoint's own row included.
      const works: boolean = refused.length < left.length || (isChangeLeft && !isChangeRefused);
      left = works ? await writeReduced(refused) : refused;
      isChangeLeft = isChangeRefused && !(works && round > 2);
    }
    isFailing = false;
  }

  const isWritten = (outcomes: readonly Outcome[], work: (tx: Transaction) => Promise<void>): Promise<boolean> =>
    deliveries.settle(outcomes, work).then(
      () => true,
      () => false,
    );

  /** Writes outcomes that are refused themselves, without what came from outside. Returns none: what is refused again is released later. */
  async function writeReduced(outcomes: readonly Outcome[]): Promise<Outcome[]> {
    for (const outcome of outcomes) {
      const attempt = outcome.attempt && {
        ...outcome.attempt,
        error: outcome.attempt.error && 'NOT_RECORDED',
        requestHeaders: {},
        requestBody: null,
        response: null,
      };
      if (await isWritten([{ ...outcome, attempt }], async () => undefined)) continue;
      log.error('The result of a webhook delivery could not be written; it is sent again.', {
        webhookId,
        deliveryId: outcome.delivery.id,
      });
    }
    return [];
  }

  return {
    note(outcome: Outcome): void {
      waiting.push(outcome);
      flush();
    },
    change(fields: Partial<Webhook>, flags: Partial<Pick<EndpointChange, 'isGone' | 'hasClosed'>> = {}): void {
      Object.assign(change.fields, fields);
      Object.assign(change, flags);
      flush();
    },
    /** Fields of the endpoint that are newer than its row. */
    unsaved: (): Partial<Webhook> => ({ ...saving.fields, ...change.fields }),
    /** Whether the database refuses writes now: then nothing should be sent, because its result could not be written. */
    isBlocked: (): boolean => isFailing || waiting.length > batchSize,
    async end(): Promise<void> {
      while (writing) await writing;
    },
  };
}
