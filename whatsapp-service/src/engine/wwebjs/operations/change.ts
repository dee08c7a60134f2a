import { AppError, type OperationId, type OperationInput, type OperationOutput } from '@chasqui/shared';
import { isRefusal, PageError, runInPage } from '../bridge.js';
import { DeadlineError, sleep, within } from '../deadline.js';
import { whatsappError } from '../whatsapp-error.js';
import type { Need, PageCore } from '../page/world.js';
import type { ChangeHandler, OperationContext } from './context.js';

/**
 * The steps of a change: check that it is possible, do it, check that it happened. Many functions of WhatsApp's page resolve without an effect,
 * and some have their effect and then reject, so only what the page shows afterwards counts. `before`, `act` and `effect` run in the page.
 */
interface ChangeSteps<Id extends OperationId, Given, Before, Result> {
  readonly needs: readonly Need[];
  /** What the functions in the page receive. By default the input. */
  prepare?(input: OperationInput<Id>, context: OperationContext): Given | Promise<Given>;
  /** Refuses what cannot work (`core.refuse`), and returns what `effect` compares with. May read from WhatsApp, but changes nothing. */
  before?: (core: PageCore, given: Given) => Before;
  act: (core: PageCore, given: Given, before: Awaited<Before>) => Result;
  /** Returns the reason if the result of `act` is a refusal, for functions of the page that do not throw. Null: not refused. */
  refusal?(result: Awaited<Result>): string | null;
  /** Whether the change is visible. Called repeatedly. `result` is null if `act` threw or has not ended. */
  effect: (core: PageCore, given: Given, before: Awaited<Before>, result: Awaited<Result> | null) => boolean | Promise<boolean>;
  /**
   * Reads the output when only a part of the effect was seen, for operations with a result for each of several people. Null: no part is known,
   * and the operation fails.
   */
  partly?(
    input: OperationInput<Id>,
    context: OperationContext,
    seen: Seen<Given, Before, Result>,
  ): Promise<OperationOutput<Id> | null>;
  /** Reads the output once the effect was seen. */
  done(input: OperationInput<Id>, context: OperationContext, seen: Seen<Given, Before, Result>): Promise<OperationOutput<Id>>;
}

interface Seen<Given, Before, Result> {
  given: Given;
  before: Awaited<Before>;
  result: Awaited<Result> | null;
}

/** The share of the deadline that `act` may use. The rest is for checking the effect. */
const actingShare = 0.6;
const lookEveryMs = 100;
/** How long the effect is awaited after `act` resolved: the page may update its models after its function has resolved. */
const lookMs = 5_000;
/** The same after `act` threw or did not end. */
const lookAfterFailureMs = 1_500;
/** The same after WhatsApp or the page has refused. */
const lookAfterRefusalMs = 300;
/** The deadline of one read in the page. It has the shorter time also when the operation's own deadline is over. */
const maxReadingMs = 3_000;
const minReadingMs = 500;

/** Returns the handler of an operation that changes something. It reports success only when the effect was seen. */
export function change<Id extends OperationId, Given = OperationInput<Id>, Before = null, Result = unknown>(
  id: Id,
  steps: ChangeSteps<Id, Given, Before, Result>,
): ChangeHandler<Id> {
  const handler: ChangeHandler<Id> = {
    id,
    effect: 'write',
    needs: steps.needs,
    isEffectSeen: (steps.effect as unknown) !== wasAccepted,
    run: (input, context) => runChange(id, steps, input, context),
  };
  changes.add(handler);
  return handler;
}

/**
 * A change that is one of several by its input. Each input needs only the modules of its own change, so `GET /capabilities` looks at each of them:
 * the operation is `degraded` when some cannot work, and `unsupported` when none can.
 */
export function either<Id extends OperationId, Part extends string>(
  id: Id,
  changesOf: Readonly<Record<Part, ChangeHandler<Id>>>,
  choose: (input: OperationInput<Id>) => Part,
): ChangeHandler<Id> {
  const all = Object.entries<ChangeHandler<Id>>(changesOf);
  const handler: ChangeHandler<Id> = {
    id,
    effect: 'write',
    needs: all.flatMap(([, { needs }]) => needs),
    isEffectSeen: all.every(([, { isEffectSeen }]) => isEffectSeen),
    needsFor: (input) => changesOf[choose(input)].needs,
    parts: all.map(([part, { needs }]) => ({ part, needs })),
    run: (input, context) => changesOf[choose(input)].run(input, context),
  };
  changes.add(handler);
  return handler;
}

/** Every handler that `change` made. A handler of the same shape that skips the look at the effect is not in it. */
export const changes = new WeakSet<object>();

/**
 * Runs in the page, as the `effect` of a change that neither the page nor WhatsApp's server shows. It counts as done when the page's call has
 * resolved. The operations that use it are `degraded`.
 */
export function wasAccepted(_core: PageCore, _given: unknown, _before: unknown, result: unknown): boolean {
  return result !== null;
}

async function runChange<Id extends OperationId, Given, Before, Result>(
  id: Id,
  steps: ChangeSteps<Id, Given, Before, Result>,
  input: OperationInput<Id>,
  context: OperationContext,
): Promise<OperationOutput<Id>> {
  const endsAt = performance.now() + context.deadlineMs;
  const left = (): number => Math.max(1, endsAt - performance.now());
  const readingMs = (): number => Math.min(maxReadingMs, Math.max(minReadingMs, left()));
  const given = (steps.prepare ? await steps.prepare(input, context) : input) as Given;
  const before = (
    steps.before ? await runInPage(context.page, steps.before, [given], maxReadingMs).catch(nothingDone(id)) : null
  ) as Awaited<Before>;
  const acted = await attempt(runInPage(context.page, steps.act, [given, before], left() * actingShare));
  const result = acted.state === 'resolved' ? acted.value : null;
  const refused = acted.state === 'resolved' ? (steps.refusal?.(acted.value) ?? null) : null;
  const isSeen = await look(
    () => runInPage(context.page, steps.effect, [given, before, result], readingMs()),
    Math.min(lookingTime(acted, refused), left()),
  );
  if (isSeen) return steps.done(input, context, { given, before, result }).catch(unreadable(id));
  const known = steps.partly
    ? await within(steps.partly(input, context, { given, before, result }), readingMs(), id).catch(nothingKnown)
    : null;
  if (known !== null) return known;
  if (refused !== null) throw new AppError('WHATSAPP_REFUSED', { operation: id, whatsapp: { message: refused } });
  if (acted.state === 'threw') throw unproven(id, acted.error);
  throw new AppError('OPERATION_TIMEOUT', { operation: id, effect: 'unknown' });
}

/**
 * Returns the error for a call that threw, whose effect is not seen. After a refusal there is none. Any other error may have come after the effect:
 * the page did not understand WhatsApp's answer, lost its connection, or is gone.
 */
function unproven(operation: OperationId, error: unknown): unknown {
  if (error instanceof AppError || (error instanceof PageError && isRefusal(error))) return error;
  return whatsappError(operation, error, 'unknown');
}

function lookingTime(acted: Attempt<unknown>, refused: string | null): number {
  if (acted.state === 'late') return lookAfterFailureMs;
  if (acted.state === 'resolved') return refused === null ? lookMs : lookAfterRefusalMs;
  return acted.error instanceof PageError && isRefusal(acted.error) ? lookAfterRefusalMs : lookAfterFailureMs;
}

type Attempt<T> = { state: 'resolved'; value: T } | { state: 'threw'; error: unknown } | { state: 'late' };

async function attempt<T>(work: Promise<T>): Promise<Attempt<T>> {
  try {
    return { state: 'resolved', value: await work };
  } catch (error) {
    return error instanceof DeadlineError ? { state: 'late' } : { state: 'threw', error };
  }
}

/** Whether the effect is seen within `ms`. A check that fails is repeated; after the last one the effect counts as not seen. */
async function look(isThere: () => Promise<boolean>, ms: number): Promise<boolean> {
  for (const end = performance.now() + ms; ; await sleep(lookEveryMs)) {
    const isSeen = await isThere().catch((error: unknown) => {
      if (error instanceof PageError || error instanceof DeadlineError) return false;
      throw error;
    });
    if (isSeen) return true;
    if (performance.now() >= end) return false;
  }
}

/** Returns null for a read that failed or was late: its result is unknown. */
function nothingKnown(error: unknown): null {
  if (error instanceof PageError || error instanceof DeadlineError) return null;
  throw error;
}

/** Reports a deadline that ended before WhatsApp was asked for the change: there is no effect. */
const nothingDone =
  (operation: OperationId) =>
  (error: unknown): never => {
    if (error instanceof DeadlineError) throw new AppError('OPERATION_TIMEOUT', { operation, effect: 'none' });
    throw error;
  };

/** Reports that the change was seen but the output could not be read: neither a failure nor an unknown effect. */
const unreadable =
  (operation: OperationId) =>
  (error: unknown): never => {
    if (error instanceof PageError || error instanceof DeadlineError)
      throw new AppError('OPERATION_TIMEOUT', { operation, effect: 'seen' });
    throw error;
  };
