import { setTimeout as sleep } from 'node:timers/promises';
import type { Transaction } from '../../db/unit-of-work.js';
import { errorFields, type Log } from '../../lib/log.js';
import type { Deliveries, Outcome } from '../deliveries.js';
import type { Webhook } from '../webhook.entity.js';

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
export interface Settling {
  /** Queues an outcome. */
  note(outcome: Outcome): void;
  /** Queues changes of the endpoint. Later values of a field replace earlier ones. */
  change(fields: Partial<Webhook>, flags?: Partial<Pick<EndpointChange, 'isGone' | 'hasClosed'>>): void;
  /** Returns the fields of the endpoint that are newer than its row. */
  unsaved(): Partial<Webhook>;
  /** Whether the database refuses writes now: then nothing should be sent, because its result could not be written. */
  isBlocked(): boolean;
  /** Resolves when everything that is queued was written or abandoned. */
  end(): Promise<void>;
}

/** The changes of the endpoint that are written in the commit of the outcomes. */
export interface EndpointChange {
  fields: Partial<Webhook>;
  /** The receiver answered 410. */
  isGone: boolean;
  /** The circuit closed: pending deliveries become due now. */
  hasClosed: boolean;
}

interface SettlingParts {
  webhookId: string;
  deliveries: Pick<Deliveries, 'settle'>;
  log: Log;
  /** Writes the changes of the endpoint. */
  also: (tx: Transaction, change: EndpointChange) => Promise<void>;
  /** Called when the outcomes were written or abandoned. */
  onSettled: (outcomes: readonly Outcome[]) => void;
  isStopped: () => boolean;
}

interface Context extends SettlingParts {
  waiting: Outcome[];
  /** The change that waits, and the one that is being written. */
  change: EndpointChange;
  saving: EndpointChange;
  writing: Promise<void> | null;
  isFailing: boolean;
}

const batchSize = 256;
const retryMs = { first: 250, longest: 5_000 };

const unchanged = (): EndpointChange => ({ fields: {}, isGone: false, hasClosed: false });

export function createSettling(parts: SettlingParts): Settling {
  const context: Context = {
    ...parts,
    waiting: [],
    change: unchanged(),
    saving: unchanged(),
    writing: null,
    isFailing: false,
  };
  return {
    note(outcome) {
      context.waiting.push(outcome);
      flush(context);
    },
    change(fields, flags = {}) {
      Object.assign(context.change.fields, fields);
      Object.assign(context.change, flags);
      flush(context);
    },
    unsaved: () => ({ ...context.saving.fields, ...context.change.fields }),
    isBlocked: () => context.isFailing || context.waiting.length > batchSize,
    async end() {
      while (context.writing) await context.writing;
    },
  };
}

function flush(context: Context): void {
  const { log, webhookId } = context;
  context.writing ??= drain(context)
    .catch((error: unknown) => log.error('Results of webhook deliveries were lost.', { webhookId, ...errorFields(error) }))
    .finally(() => (context.writing = null));
}

const hasWork = ({ waiting, change }: Context): boolean =>
  waiting.length > 0 || Object.keys(change.fields).length > 0 || change.isGone || change.hasClosed;

async function drain(context: Context): Promise<void> {
  // One tick of the event loop lets attempts that ended at the same time share a commit.
  await new Promise((resolve) => setImmediate(resolve));
  while (hasWork(context)) {
    const outcomes = context.waiting.splice(0, batchSize);
    [context.saving, context.change] = [context.change, unchanged()];
    await write(context, outcomes, context.saving);
    context.saving = unchanged();
    context.onSettled(outcomes);
  }
}

async function write(context: Context, outcomes: readonly Outcome[], change: EndpointChange): Promise<void> {
  const { deliveries, also, log, webhookId } = context;
  try {
    return await deliveries.settle(outcomes, (tx) => also(tx, change));
  } catch (error) {
    log.error('Results of webhook deliveries could not be written; the write is retried.', {
      webhookId,
      ...errorFields(error),
    });
  }
  context.isFailing = true;
  await writeOneByOne(context, outcomes, change);
  context.isFailing = false;
}

/** Writes each outcome, and the change of the endpoint, by itself until nothing is left. Gives up at shutdown, after one more round. */
async function writeOneByOne(context: Context, outcomes: readonly Outcome[], change: EndpointChange): Promise<void> {
  const { also, isStopped } = context;
  let left = outcomes;
  let isChangeLeft = true;
  for (let round = 0; left.length > 0 || isChangeLeft; round += 1) {
    if (isStopped() && round > 0) break;
    await sleep(isStopped() ? 100 : Math.min(retryMs.first * 2 ** round, retryMs.longest));
    const refused: Outcome[] = [];
    for (const outcome of left) if (!(await isWritten(context, [outcome], async () => undefined))) refused.push(outcome);
    const isChangeRefused: boolean = isChangeLeft && !(await isWritten(context, [], (tx) => also(tx, change)));
    // The database works when anything else was written, the endpoint's own row included.
    const works: boolean = refused.length < left.length || (isChangeLeft && !isChangeRefused);
    if (works) await writeReduced(context, refused);
    left = works ? [] : refused;
    isChangeLeft = isChangeRefused && !(works && round > 2);
  }
}

const isWritten = (
  { deliveries }: Context,
  outcomes: readonly Outcome[],
  also: (tx: Transaction) => Promise<void>,
): Promise<boolean> =>
  deliveries.settle(outcomes, also).then(
    () => true,
    () => false,
  );

/** Writes outcomes that are refused themselves, without what came from outside. The claim of one that is refused again is released later. */
async function writeReduced(context: Context, outcomes: readonly Outcome[]): Promise<void> {
  for (const outcome of outcomes) {
    const attempt = outcome.attempt && {
      ...outcome.attempt,
      error: outcome.attempt.error && 'NOT_RECORDED',
      requestHeaders: {},
      requestBody: null,
      response: null,
    };
    if (await isWritten(context, [{ ...outcome, attempt }], async () => undefined)) continue;
    context.log.error('The result of a webhook delivery could not be written; it is sent again.', {
      webhookId: context.webhookId,
      deliveryId: outcome.delivery.id,
    });
  }
}
