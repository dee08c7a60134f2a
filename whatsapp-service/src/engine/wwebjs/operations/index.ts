import {
  AppError,
  internalOperations,
  isOperationId,
  operations,
  type InternalOperationId,
  type OperationId,
  type OperationNoun,
} from '@chasqui/shared';
import { callPage, PageError, runInPage } from '../bridge.js';
import { DeadlineError } from '../deadline.js';
import { chats } from './chats.js';
import { contacts } from './contacts.js';
import type { OperationContext, OperationHandlers } from './context.js';
import { lookUp, pairingCode } from './internal.js';
import { profile } from './profile.js';

type Handler = (input: never, context: OperationContext) => Promise<unknown>;

/** The handlers, by noun. A noun without its file does not compile. Adding an operation to a noun changes only the file of that noun. */
const nouns: { [Noun in OperationNoun]: OperationHandlers<Noun> } = { chats, contacts, profile };

const handlers: Record<string, Handler> = Object.assign({}, ...Object.values(nouns));

/** Internal operations that need the page. The session carries out the other ones itself. */
const internal: Partial<Record<InternalOperationId, Handler>> = {
  'session.lookup': lookUp,
  'session.pairingCode': pairingCode,
};

/** Runs one operation. Input and output are checked by their schemas; an error of the page becomes an `AppError`. */
export async function runOperation(
  id: OperationId | InternalOperationId,
  input: Record<string, unknown>,
  session: Pick<OperationContext, 'page' | 'client' | 'identities' | 'deadlineMs'>,
): Promise<unknown> {
  const { schema, run } = find(id);
  const { page, deadlineMs } = session;
  const context: OperationContext = {
    ...session,
    call: (name, argument) => callPage(page, name, argument, deadlineMs),
    inPage: (fn, argument) => runInPage(page, fn, argument, deadlineMs),
  };
  const parsed = schema.input.safeParse(input);
  if (!parsed.success)
    throw new AppError('VALIDATION_FAILED', {
      fields: parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), code: issue.code, message: issue.message })),
    });
  try {
    return schema.output.parse(await run(parsed.data as never, context));
  } catch (error) {
    if (error instanceof DeadlineError)
      throw new AppError('OPERATION_TIMEOUT', {
        operation: id,
        effect: isOperationId(id) && operations[id].effect === 'read' ? 'none' : 'unknown',
      });
    if (error instanceof PageError)
      throw new AppError('WHATSAPP_ERROR', {
        operation: id,
        whatsapp: { name: error.pageName, message: error.message, status: error.status, build: error.build },
      });
    throw error;
  }
}

function find(id: OperationId | InternalOperationId) {
  const run = isOperationId(id) ? handlers[id] : internal[id];
  if (!run) throw new AppError('OPERATION_NOT_FOUND', { operation: id });
  return { run, schema: isOperationId(id) ? operations[id] : internalOperations[id] };
}
