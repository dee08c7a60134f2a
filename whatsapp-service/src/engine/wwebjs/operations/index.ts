import {
  AppError,
  internalOperations,
  isOperationId,
  operations,
  type InternalOperationId,
  type OperationId,
  type OperationInput,
  type OperationOutput,
} from '@chasqui/shared';
import { PageError } from '../bridge.js';
import { DeadlineError } from '../deadline.js';
import { listChats } from './chats.js';
import { checkNumbers } from './contacts.js';
import type { OperationContext } from './context.js';
import { lookUp, pairingCode } from './internal.js';
import { ownProfile } from './profile.js';

/** One function for each row of the operations table: a row without one does not compile. */
const handlers: { [K in OperationId]: (input: OperationInput<K>, context: OperationContext) => Promise<OperationOutput<K>> } = {
  'contacts.check': checkNumbers,
  'chats.list': listChats,
  'profile.get': ownProfile,
};

/** Internal operations that need the page. The session carries out the other ones itself. */
const internal: Partial<Record<InternalOperationId, (input: never, context: OperationContext) => Promise<unknown>>> = {
  'session.lookup': lookUp,
  'session.pairingCode': pairingCode,
};

/** Runs one operation. Input and output are checked by their schemas; an error of the page becomes an `AppError`. */
export async function runOperation(
  id: OperationId | InternalOperationId,
  input: Record<string, unknown>,
  context: OperationContext,
): Promise<unknown> {
  const { schema, run } = find(id);
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
  const run = isOperationId(id) ? (handlers[id] as (input: never, context: OperationContext) => Promise<unknown>) : internal[id];
  if (!run) throw new AppError('OPERATION_NOT_FOUND', { operation: id });
  return { run, schema: isOperationId(id) ? operations[id] : internalOperations[id] };
}
