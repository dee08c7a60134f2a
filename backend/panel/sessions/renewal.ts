import { useEffect, useRef } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { messageOf, post } from '../api.js';
import type { Notice } from '../parts/NoticeLine.js';

/** WhatsApp shows a handful of codes, for about two minutes. So often a page that is open asks for new ones: about half an hour. */
const maxRenewals = 15;

/** Asks for new codes when they have run out while a person looks at the page. A page in the background does not. */
export function useCodeRenewal({ id, status, reason }: SessionView, onNotice: (notice: Notice) => void): void {
  const seen = useRef({ id, wasWaiting: false, count: 0 });
  useEffect(() => {
    if (seen.current.id !== id) seen.current = { id, wasWaiting: false, count: 0 };
    const state = seen.current;
    if (status === 'qr_pending') state.wasWaiting = true;
    if (status === 'connected') Object.assign(state, { wasWaiting: false, count: 0 });
    const isOver = (status === 'disconnected' || status === 'error') && reason?.code === 'QR_TIMEOUT';
    if (!isOver || !state.wasWaiting || document.hidden || state.count >= maxRenewals) return;
    state.wasWaiting = false;
    state.count += 1;
    post(`/live/sessions/${id}/start`).then(
      () => onNotice({ tone: 'good', text: 'The codes had run out. New ones follow, because this page is open.' }),
      (error: unknown) => onNotice({ tone: 'bad', text: messageOf(error) }),
    );
  }, [id, status, reason?.code, onNotice]);
}
