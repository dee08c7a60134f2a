import { createLogOutput, limitLines } from '@chasqui/shared/process';
import { createLogger, format, transports } from 'winston';

type Fields = Record<string, unknown>;

/** Constant sentences with fields. Ids, codes and durations only: never message text, captions, keys, QR codes or whole phone numbers. */
export interface Log {
  error(sentence: string, fields?: Fields): void;
  warn(sentence: string, fields?: Fields): void;
  info(sentence: string, fields?: Fields): void;
  debug(sentence: string, fields?: Fields): void;
  /** Whether `debug` lines are written, so that callers can skip gathering their fields. */
  readonly isDebug: boolean;
}

/**
 * JSON lines to stdout. A reader that is slow, stops or disconnects never blocks or ends the process; its lines are dropped.
 * The number of warnings and errors with the same sentence is bounded (`limitLines`).
 */
export function createLog(level: string): Log {
  const logger = createLogger({
    level,
    defaultMeta: { process: 'backend' },
    format: format.combine(format.timestamp(), format.json()),
    transports: [new transports.Stream({ stream: createLogOutput() })],
  });
  return limitLines({
    error: (sentence, fields = {}) => void logger.error(sentence, fields),
    warn: (sentence, fields = {}) => void logger.warn(sentence, fields),
    info: (sentence, fields = {}) => void logger.info(sentence, fields),
    debug: (sentence, fields = {}) => void logger.debug(sentence, fields),
    isDebug: logger.isDebugEnabled(),
  });
}

/** Returns any thrown value as log fields. A driver's error may quote values of a query, so only its code and first line are included. */
export function errorFields(error: unknown): Fields {
  try {
    return fieldsOf(error);
  } catch {
    return { error: 'An error that cannot be described.' };
  }
}

/** Throws for a value without a text form, such as an object without a prototype. */
function fieldsOf(error: unknown): Fields {
  if (!(error instanceof Error)) return { error: String(error) };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined;
  return { error: error.message.split('\n')[0], errorName: error.name, stack: error.stack, ...(code ? { code } : {}) };
}
