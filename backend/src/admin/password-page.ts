import type { Request, Response } from 'express';
import { nonceOf } from './guard.js';
import { escapeHtml, plainPage } from './html.js';

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
  message: string | null;
  /** HTML below the form. */
  below: string;
}

/**
 * Builds the page of the form. Its script shows and hides the passwords, and refuses two that differ before anything is sent, so that no field
 * is emptied. Without the script the server refuses them.
 */
export function passwordPage(req: Request, res: Response, form: PasswordForm): string {
  const { title, lead, action, hidden = {}, current, message, below } = form;
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
      <button type="submit">${current === null ? 'Set the password and open the panel' : 'Change password'}</button>
    </form>
    ${below}
    <script nonce="${nonceOf(res)}">${script}</script>`,
  );
}

const script = `
const fields = [...document.querySelectorAll('input[autocomplete]')];
const [next, repeat] = ['next', 'repeat'].map((id) => document.getElementById(id));
const shown = document.getElementById('shown');
shown.parentElement.hidden = false;
shown.addEventListener('change', () => fields.forEach((field) => (field.type = shown.checked ? 'text' : 'password')));
const check = () => repeat.setCustomValidity(next.value === repeat.value ? '' : 'The two passwords differ.');
for (const field of [next, repeat]) field.addEventListener('input', check);
`;
