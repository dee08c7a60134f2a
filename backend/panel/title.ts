import { useEffect } from 'react';
import { root } from './api.js';

/** The title and the icon of the browser's tab: they name the page, and trouble anywhere. */

export interface Trouble {
  /** The server does not answer, or cannot read its database. */
  silent: boolean;
  /** Phones that are offline. */
  offline: number;
  worst: 'warn' | 'bad' | null;
  alerts: number;
}

const product = 'Chasqui';
let page: string[] = [];
let trouble: Trouble = { silent: false, offline: 0, worst: null, alerts: 0 };

function prefix({ silent, offline, worst, alerts }: Trouble): string {
  if (silent) return '(no answer) ';
  if (offline > 0) return `(${offline} offline) `;
  return worst === 'bad' ? `(${alerts} ${alerts === 1 ? 'problem' : 'problems'}) ` : '';
}

function apply(): void {
  document.title = prefix(trouble) + [...page, product].join(' · ');
  const icon = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  const file = trouble.worst === null ? 'favicon' : `favicon-${trouble.worst}`;
  const href = `${root}/static/${file}.svg`;
  if (icon && icon.getAttribute('href') !== href) icon.setAttribute('href', href);
}

export function setTrouble(next: Trouble): void {
  trouble = next;
  apply();
}

/** Names the page in the tab: its own title, and the list that it belongs to. */
export function usePageTitle(title: string, list: string | undefined): void {
  useEffect(() => {
    page = [title, ...(list && list !== title ? [list] : [])];
    apply();
  }, [title, list]);
}
