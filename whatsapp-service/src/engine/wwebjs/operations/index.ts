import {
  AppError,
  fieldErrors,
  internalOperations,
  isErrorCode,
  isOperationId,
  operations,
  validationError,
  type InternalOperationId,
  type OperationId,
  type OperationNoun,
} from '@chasqui/shared';
import { callPage, isRefusal, PageError, runInPage } from '../bridge.js';
import { DeadlineError } from '../deadline.js';
import { whatsappError } from '../whatsapp-error.js';
import type { Need, PageCore } from '../page/world.js';
import { calls } from './calls.js';
import { channels } from './channels.js';
import { changes } from './change.js';
import { chats } from './chats.js';
import { communities } from './communities.js';
import { contacts } from './contacts.js';
import type { OperationContext, OperationHandlers, OperationPart } from './context.js';
import { groups } from './groups.js';
import { history } from './history.js';
import { answerPasskey, lookUp, pairingCode, readPasskey } from './internal.js';
import { labels } from './labels.js';
import { messages } from './messages.js';
import { presence } from './presence.js';
import { profile } from './profile.js';
import { stories } from './stories.js';

type Run = (input: never, context: OperationContext) => Promise<unknown>;
interface Handler {
  needs: readonly Need[];
  isEffectSeen?: boolean;
  needsFor?(input: never): readonly Need[];
  parts?: readonly OperationPart[];
  run: Run;
}

/** The handlers, by noun. A noun without its file does not compile. Adding an operation to a noun changes only the file of that noun. */
const nouns: { [Noun in OperationNoun]: OperationHandlers<Noun> } = {
  calls,
  channels,
  chats,
  communities,
  contacts,
  groups,
  history,
  labels,
  messages,
  presence,
  profile,
  stories,
};

const handlers: Record<OperationId, Handler> = Object.assign({}, ...Object.values(nouns));

/** Internal operations that need the page. The session carries out the others itself. */
const internal: Partial<Record<InternalOperationId, Run>> = {
  'session.lookup': lookUp,
  'session.pairingCode': pairingCode,
  'session.passkey': readPasskey,
  'session.answerPasskey': answerPasskey,
};

/** The modules of the page that an operation calls, for the check after `ready`. */
export const needsOf = (id: OperationId): readonly Need[] => handlers[id].needs;

/** The parts of an operation of which each needs modules of its own. Empty: it has none. */
export const partsOf = (id: OperationId): readonly OperationPart[] => handlers[id].parts ?? [];

/** Whether an operation checks that its change happened. True for handlers that `change` returned. */
export const isEffectChecked = (id: OperationId): boolean => changes.has(handlers[id]);

/** Whether the success of a change means that its effect was seen. False for reads. See `ChangeHandler`. */
export const isEffectSeen = (id: OperationId): boolean => handlers[id].isEffectSeen === true;

/** Runs one operation within `session.deadlineMs`. Schemas check input and output. An error of the page becomes an `AppError`. */
export async function runOperation(
  id: OperationId | InternalOperationId,
  input: Record<string, unknown>,
  session: Omit<OperationContext, 'call' | 'inPage'>,
): Promise<unknown> {
  const { schema, run, needs, needsFor } = find(id);
  const { page, deadlineMs } = session;
  const context: OperationContext = {
    ...session,
    call: (name, argument) => callPage(page, name, argument, deadlineMs),
    inPage: (fn, ...given) => runInPage(page, fn, given, deadlineMs),
  };
  const parsed = schema.input.safeParse(input);
  if (!parsed.success) throw validationError(fieldErrors(parsed.error.issues));
  try {
    const wanted = needsFor?.(parsed.data as never) ?? needs;
    if (wanted.length > 0) await requireModules(id, wanted, context);
    return schema.output.parse(await run(parsed.data as never, context));
  } catch (error) {
    throw errorOf(id, error);
  }
}

async function requireModules(operation: string, needs: readonly Need[], { inPage }: OperationContext): Promise<void> {
  const missing = await inPage(loadModules, needs).catch((error: unknown) => {
    if (error instanceof DeadlineError) throw new AppError('OPERATION_TIMEOUT', { operation, effect: 'none' });
    throw error;
  });
  if (missing.length > 0)
    throw new AppError('NOT_SUPPORTED_BY_WHATSAPP', { operation, reason: `WhatsApp Web has no ${missing.join(', ')}.`, missing });
}

/** Runs in the page. Modules register one after another for up to a minute after the page loads. Until then it waits for a missing module. */
async function loadModules(core: PageCore, needs: readonly Need[]): Promise<string[]> {
  const loadingMs = 60_000;
  const waitMs = 3_000;
  for (const end = performance.now() + waitMs; ;) {
    const missing = await core.load(needs);
    if (missing.length === 0 || performance.now() > Math.min(end, loadingMs)) return missing;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Returns the API's error for what an operation threw. */
function errorOf(id: OperationId | InternalOperationId, error: unknown): unknown {
  if (error instanceof DeadlineError) {
    const effect = isOperationId(id) && operations[id].effect === 'read' ? 'none' : 'unknown';
    return new AppError('OPERATION_TIMEOUT', { operation: id, effect });
  }
  if (!(error instanceof PageError)) return error;
  if (error.refusal && isErrorCode(error.refusal.code))
    return new AppError(error.refusal.code, { operation: id, ...error.refusal.details });
  const { pageName: name, message, status, build } = error;
  if (isRefusal(error)) return new AppError('WHATSAPP_REFUSED', { operation: id, whatsapp: { name, message, status, build } });
  // A change that was handed over has its own error by now: see `unproven` in change.ts.
  return whatsappError(id, error, 'none');
}

function find(id: OperationId | InternalOperationId): Handler & { schema: Schema } {
  if (isOperationId(id)) return { schema: operations[id], ...handlers[id] };
  const run = internal[id];
  if (!run) throw new AppError('OPERATION_NOT_FOUND', { operation: id });
  return { schema: internalOperations[id], run, needs: [] };
}
type Schema = Pick<(typeof operations)[OperationId] | (typeof internalOperations)[InternalOperationId], 'input' | 'output'>;
