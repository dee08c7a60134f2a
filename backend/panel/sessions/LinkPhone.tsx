import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import PasskeyForm from './PasskeyForm.js';
import QrToScan from './QrToScan.js';
import StateCard from './StateCard.js';
import Steps from './Steps.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Reasons after which there is no login: the next step is to link a phone. */
const unlinkedReasons = ['NOT_STARTED', 'QR_TIMEOUT', 'USER_LOGGED_OUT', 'LOGGED_OUT_BY_PHONE'];

/** Whether a phone has to be linked, or is being linked for the first time. */
export function isLinking({ status, wasLinked, reason }: SessionView): boolean {
  if (status === 'qr_pending' || status === 'passkey_required') return true;
  if (status === 'connected' || status === 'suspended') return false;
  if (status === 'disconnected' || status === 'error') return unlinkedReasons.includes(reason?.code ?? '');
  return !wasLinked;
}

/** The code to scan or the request for a passkey while a phone is being linked, otherwise the state of the session. */
const LinkPhone: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => (
  <>
    {isLinking(session) && <Steps status={session.status} />}
    {session.status === 'qr_pending' ? (
      <QrToScan session={session} />
    ) : session.status === 'passkey_required' ? (
      <PasskeyForm sessionId={session.id} onNotice={onNotice} />
    ) : (
      <StateCard session={session} onNotice={onNotice} />
    )}
  </>
);
export default LinkPhone;
