export type Tone = 'good' | 'wait' | 'warn' | 'bad' | 'idle' | 'info';

const sessionWords: Record<string, [string, Tone]> = {
  connected: ['Connected', 'good'],
  connecting: ['Connecting', 'info'],
  initializing: ['Starting', 'info'],
  qr_pending: ['Scan the code', 'wait'],
  passkey_required: ['Passkey needed', 'wait'],
  disconnected: ['Stopped', 'idle'],
  error: ['Error', 'bad'],
  suspended: ['Suspended', 'warn'],
};
const messageWords: Record<string, [string, Tone]> = {
  scheduled: ['Scheduled', 'wait'],
  queued: ['Queued', 'wait'],
  sending: ['Sending', 'info'],
  sent: ['Sent', 'info'],
  delivered: ['Delivered', 'good'],
  read: ['Read', 'good'],
  played: ['Played', 'good'],
  failed: ['Failed', 'bad'],
  uncertain: ['Uncertain', 'warn'],
  cancelled: ['Cancelled', 'idle'],
  edited: ['Edited', 'info'],
  revoked: ['Deleted for everyone', 'idle'],
  completed: ['Content arrived', 'good'],
};

const bulkWords: Record<string, [string, Tone]> = {
  scheduled: ['Scheduled', 'wait'],
  running: ['Running', 'info'],
  waiting: ['Waiting', 'wait'],
  paused: ['Paused', 'warn'],
  completed: ['Completed', 'good'],
  cancelled: ['Cancelled', 'idle'],
};
const recipientWords: Record<string, [string, Tone]> = {
  ...messageWords,
  pending: ['Waiting', 'wait'],
  skipped: ['Skipped', 'idle'],
};

export const bulkWord = (status: string): [string, Tone] => bulkWords[status] ?? [status, 'idle'];
export const recipientWord = (status: string): [string, Tone] => recipientWords[status] ?? [status, 'idle'];
export const sessionWord = (status: string): [string, Tone] => sessionWords[status] ?? [status, 'idle'];
/** An inbound message with the state `sent` or `delivered` is shown as received. */
export const messageWord = (status: string, direction?: string): [string, Tone] =>
  direction === 'inbound' && (status === 'sent' || status === 'delivered')
    ? ['Received', 'good']
    : (messageWords[status] ?? [status, 'idle']);

const spans: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000_000],
  ['month', 2_592_000_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
];
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });

export function agoText(at: number, now: number): string {
  const gap = at - now;
  for (const [unit, ms] of spans) if (Math.abs(gap) >= ms) return relative.format(Math.round(gap / ms), unit);
  return Math.abs(gap) < 5_000 ? 'just now' : relative.format(Math.round(gap / 1000), 'second');
}

const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
export const exactText = (at: number): string => exact.format(at);

export const count = (value: number): string => value.toLocaleString('en');
export const memory = (mb: number): string => (mb >= 1024 ? `${(mb / 1024).toFixed(1)} GB` : `${mb} MB`);
export const size = (bytes: number): string =>
  bytes >= 1_048_576 ? `${(bytes / 1_048_576).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1024))} KB`;
