import type { Request, Response } from 'express';
import type { Account } from '../accounts/account.entity.js';
import { nonceOf } from './guard.js';
import { escapeHtml } from '../lib/escape-html.js';
import { plainPage } from './html.js';

export const minPasswordLength = 12;

/** A form with which a person chooses a password. */
export interface PasswordForm {
  title: string;
  lead: string;
  action: string;
  /** What the form sends along. */
  hidden?: Readonly<Record<string, string>>;
  /** The label of the field for the present password. Null: there is no such field. */
  current: string | null;
  /** The time zone in the field with which a new account chooses its own. Absent or null: there is no such field. */
  timezone?: string | null;
  message: string | null;
  /** HTML below the form. */
  below: string;
}

/**
 * Returns the time zone to offer for an account that is unchanged since it was created; null for another one, whose zone stays. The browser
 * offers its own zone in place of UTC, which is the zone of an installation without `QUOTA_TIMEZONE`.
 */
export const timezoneToChoose = ({ timezone, createdAt, updatedAt }: NewAccount): string | null =>
  updatedAt.getTime() > createdAt.getTime() ? null : timezone;
type NewAccount = Pick<Account, 'timezone' | 'createdAt' | 'updatedAt'>;

export const unknownTimezone = 'There is no such time zone. Use one such as America/Lima.';

/**
 * Builds the page of the form. Its script shows and hides the passwords, offers the zone of the browser, and refuses passwords that differ
 * before anything is sent, so that no field is emptied. Without the script the server refuses them.
 */
export function passwordPage(req: Request, res: Response, form: PasswordForm): string {
  const { title, lead, action, hidden = {}, current, timezone = null, message, below } = form;
  const field = (name: string, label: string, complete: string, more = ''): string =>
    `<label for="${name}">${escapeHtml(label)}</label>
      <input id="${name}" name="${name}" type="password" autocomplete="${complete}" required maxlength="1024"${more}>`;
  const length = ` minlength="${minPasswordLength}"`;
  return plainPage(
    req,
    title,
    `<h1>${escapeHtml(title)}</h1>
    <p class="lead">${escapeHtml(lead)}</p>
    ${message ? `<p class="alert" role="alert">${escapeHtml(message)}</p>` : ''}
    <form method="post" action="${escapeHtml(action)}">
      ${Object.entries(hidden)
        .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
        .join('')}
      ${current === null ? '' : field('current', current, 'current-password', ' autofocus')}
      ${field('next', `New password, at least ${minPasswordLength} characters`, 'new-password', current === null ? `${length} autofocus` : length)}
      ${field('repeat', 'New password again', 'new-password', length)}
      <label class="choice" hidden><input id="shown" type="checkbox"> Show</label>
      ${timezone === null ? '' : timezoneField(timezone)}
      <button type="submit">${current === null ? 'Set the password and open the panel' : 'Change password'}</button>
    </form>
    ${below}
    <script nonce="${nonceOf(res)}">${script}</script>`,
  );
}

const timezoneField = (timezone: string): string => `<label for="timezone">Time zone of your account</label>
      <input id="timezone" name="timezone" list="timezones" value="${escapeHtml(timezone)}" autocomplete="off" spellcheck="false" required maxlength="64" aria-describedby="timezone-hint">
      <datalist id="timezones"></datalist>
      <p class="hint" id="timezone-hint">Days and daily limits begin at its midnight. It can be changed later.</p>`;

const script = `
const fields = [...document.querySelectorAll('input[type=password]')];
const [next, repeat] = ['next', 'repeat'].map((id) => document.getElementById(id));
const shown = document.getElementById('shown');
shown.parentElement.hidden = false;
shown.addEventListener('change', () => fields.forEach((field) => (field.type = shown.checked ? 'text' : 'password')));
const check = () => repeat.setCustomValidity(next.value === repeat.value ? '' : 'The two passwords differ.');
const zone = document.getElementById('timezone');
if (zone?.value === 'UTC') zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
if (zone) document.getElementById('timezones').append(...(Intl.supportedValuesOf?.('timeZone') ?? []).map((name) => new Option(name)));
for (const field of [next, repeat]) field.addEventListener('input', check);
`;
