import { AppError } from '@chasqui/shared';
import type { Request } from 'express';

/**
 * Returns the credential of a request, from the header that contains it; never from the URL, which is logged. The only parser
 * of these headers: what it accepts is what every later reader sees.
 */
export function credentialOf(req: Request): string | null {
  const header = req.get('authorization');
  const found = [req.get('x-api-key')];
  if (header !== undefined) {
    const [scheme = '', value = '', ...more] = header.trim().split(/[ \t]+/);
    if (!['apikey', 'bearer'].includes(scheme.toLowerCase()) || value === '' || more.length > 0)
      throw new AppError('UNAUTHENTICATED', {}, 'Use Authorization: ApiKey <key>, or Bearer <token>.');
    found.push(value);
  }
  const values = [...new Set(found.filter((text): text is string => typeof text === 'string' && text !== ''))];
  if (values.length > 1) throw new AppError('CONFLICTING_CREDENTIALS');
  return values[0] ?? null;
}
