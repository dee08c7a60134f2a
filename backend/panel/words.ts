export type Tone = 'good' | 'wait' | 'warn' | 'bad' | 'idle' | 'info';

const sessionWords: Record<string, [string, Tone]> = {
  connected: ['Connected', 'good'],
  connecting: ['Connecting', 'info'],
  initializing: ['Starting', 'info'],
  qr_pending: ['Scan the code', 'wait'],
  passkey_required: ['Passkey needed', 'wait'],
  disconnected: ['Stopped', 'idle'],
  error: ['Error', 'bad'],
  suspended: ['Suspended', 'idle'],
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
  pinned: ['Pinned in its chat', 'idle'],
  unpinned: ['Unpinned', 'idle'],
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

const webhookWords: Record<string, [string, Tone]> = {
  healthy: ['Healthy', 'good'],
  unproven: ['Nothing delivered yet', 'idle'],
  failing: ['Failing', 'warn'],
  open: ['Paused after failures', 'bad'],
  disabled: ['Switched off', 'idle'],
};
const deliveryWords: Record<string, [string, Tone]> = {
  delivered: ['Delivered', 'good'],
  failed: ['Failed', 'bad'],
  pending: ['Waiting', 'wait'],
  sending: ['Sending', 'info'],
  held: ['Held', 'warn'],
  cancelled: ['Cancelled', 'idle'],
};

/** A session that was connected when its worker was last heard. */
export const unconfirmedWord: [string, Tone] = ['Not confirmed', 'bad'];
/** The tone of a linked phone that is not connected, though no person stopped it. */
export const offlineWord = (by: string): [string, Tone] => ['Offline', by === 'itself' ? 'warn' : 'bad'];
export const webhookWord = (state: string): [string, Tone] => webhookWords[state] ?? [state, 'idle'];
export const deliveryWord = (status: string): [string, Tone] => deliveryWords[status] ?? [status, 'idle'];
/** Whether a key or an account works. */
export const activeWord = (isActive: boolean): [string, Tone] => (isActive ? ['Active', 'good'] : ['Switched off', 'idle']);
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

/** How long until a time: "in 14 s". */
export const inText = (at: number, now: number): string =>
  at <= now ? 'now' : at - now < 90_000 ? `in ${Math.ceil((at - now) / 1000)} s` : agoText(at, now);

const exact = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
export const exactText = (at: number): string => exact.format(at);
/** The same with milliseconds. */
export const preciseText = (at: number): string => `${exact.format(at)}.${String(at % 1000).padStart(3, '0')}`;

/** A phone number with its plus: "+5511999990001" as "+55 11 99999-0001" where its form is known. */
export function phoneText(number: string): string {
  const digits = number.replace(/\D/g, '');
  const brazil = /^55(\d\d)(\d{4,5})(\d{4})$/.exec(digits);
  return brazil ? `+55 ${brazil[1]} ${brazil[2]}-${brazil[3]}` : `+${digits}`;
}

/** The name of a person; a number that stands for one as a phone number. */
export const personText = (name: string): string => (/^\+?\d{7,15}$/.test(name) ? phoneText(name) : name);

const chatWords: Record<string, string> = {
  private: 'Person without a known number',
  group: 'Group without a name',
  channel: 'Channel without a name',
  status: 'Stories',
};

/** What people call a chat: its name, else the number of its person. Its id is no name. */
export const chatText = (chat: { type: string; name: string | null; number: string | null }): string =>
  chat.name ?? (chat.number === null ? (chatWords[chat.type] ?? 'Chat without a name') : phoneText(chat.number));

/** A time zone as people write it: "America/Sao Paulo". */
export const zoneName = (zone: string): string => zone.replaceAll('_', ' ');

export const count = (value: number): string => value.toLocaleString('en');
/** A figure that may be missing, as a field shows it, and back. */
export const figureText = (figure: number | null): string => (figure === null ? '' : String(figure));
export const figureOf = (text: string): number | null => (text.trim() === '' ? null : Number(text));
export const memory = (mb: number): string => (mb >= 1024 ? `${(mb / 1024).toFixed(1)} GB` : `${mb} MB`);
export const size = (bytes: number): string =>
  bytes >= 1_048_576 ? `${(bytes / 1_048_576).toFixed(1)} MB` : `${Math.max(1, Math.round(bytes / 1024))} KB`;
