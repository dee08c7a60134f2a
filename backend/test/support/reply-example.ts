import { exampleIds } from '@chasqui/shared';

/**
 * Turns the reply of a test into an example: ids and times become those of all examples, secrets become ones that open nothing, addresses of this
 * run become public ones, and lists are cut.
 */

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const secrets: Record<string, string> = {
  key: 'chq_5fKpW2uYb7…',
  apiKey: 'chq_5fKpW2uYb7…',
  token: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTkyIn0.c2lnbmF0dXJl',
  secret: 'whsec_c2VjcmV0LXRoYXQtc2lnbnMtZGVsaXZlcmllcw==',
  ticket: 'dGlja2V0LWZvci1vbmUtc3RyZWFt',
  oneTimePassword: 'amber-otter-lemon-brick',
  qrCode: 'data:image/png;base64,iVBORw0KGgo=',
  qrText: '2@bGluay10aGlzLWRldmljZQ==,cHVibGljLWtleQ==,aWRlbnRpdHk=,YWR2,1',
  prefix: 'chq_5fKp',
  apiKeyPrefix: 'chq_5fKp',
  lastFour: 'uYb7',
  secretPrefix: 'whsec_c2Vj',
};
const numbers = /^(roundTripMs|durationMs|meanMs|p95Ms|memoryMb|cpuPercent|uptimePercent|browserUptimeSeconds)$/;

export function normalised(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.slice(0, 2).map((item) => normalised(item, name.replace(/s$/, '')));
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, normalised(inner, key)]));
  if (typeof value === 'number') return numbers.test(name) ? 12 : value;
  if (typeof value !== 'string') return value;
  if (Object.hasOwn(secrets, name)) return secrets[name];
  if (/^\d{4}-\d\d-\d\dT/.test(value) && !value.startsWith('2099')) return '2026-05-04T12:30:00.000Z';
  if (/^\d{4}-\d\d-\d\d$/.test(value)) return '2026-05-04';
  if (/^\d{14}$/.test(value)) return '00000000018422';
  const known = Object.hasOwn(exampleIds, name) ? exampleIds[name as keyof typeof exampleIds] : exampleIds.messageId;
  return value
    .slice(0, 400)
    .replace(uuid, known)
    .replace(/http:\/\/127\.0\.0\.1:\d+\/health/g, 'https://example.com/hook')
    .replace(/http:\/\/127\.0\.0\.1:\d+/g, 'https://example.com')
    .replace(/3E[0-9A-F]{18,}/g, '3EB0C431C26A1916E07A')
    .replace(/[0-9a-f]{64}/g, '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08');
}

/** The names of the fields, of the first item where it is a list. */
export function shapeOf(value: unknown): string[] {
  const one: unknown = Array.isArray(value) ? value[0] : value;
  return typeof one === 'object' && one !== null ? Object.keys(one).sort() : [];
}
