import { createLogOutput, limitLines } from '@chasqui/shared/process';
import { createLogger, format, transports } from 'winston';

type Fields = Record<string, unknown>;

/** Constant sentences with fields. Fields hold only ids, codes and durations: never text, captions, keys, QR codes or whole phone numbers. */
export interface Log {
  error(sentence: string, fields?: Fields): void;
  warn(sentence: string, fields?: Fields): void;
  info(sentence: string, fields?: Fields): void;
  debug(sentence: string, fields?: Fields): void;
  /** Whether `debug` lines are written; if not, callers skip gathering their fields. */
  readonly isDebug: boolean;
}

/**
 * Writes JSON lines to stdout. A reader that is slow, stalls or disconnects never blocks or ends the process; lines are dropped instead.
 * The number of warnings and errors with the same sentence is bounded (`limitLines`).
 */
export function createLog(level: string, always: Fields = {}): Log {
  const logger = createLogger({
    level,
    defaultMeta: always,
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

/** Converts any thrown value to log fields. The library also throws strings. */
export function errorFields(error: unknown): Fields {
  if (!(error instanceof Error)) return { error: String(error) };
  const code: unknown = 'code' in error ? error.code : undefined;
  return { error: error.message, errorName: error.name, stack: error.stack, ...(typeof code === 'string' ? { code } : {}) };
}
