import { AppError } from '@chasqui/shared';
import { PageError } from './bridge.js';

/** Returns the API's error for what the page threw, or for a page that is gone. `effect`: whether the operation may have happened all the same. */
export function whatsappError(operation: string, error: unknown, effect: 'none' | 'unknown'): AppError {
  const { pageName, status, build } = error instanceof PageError ? error : { pageName: null, status: null, build: null };
  const name = pageName ?? (error instanceof Error ? error.name : 'Error');
  const message = error instanceof Error ? error.message : String(error);
  return new AppError('WHATSAPP_ERROR', { operation, effect, whatsapp: { name, message, status, build } });
}
