import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import PasskeyForm from './PasskeyForm.js';
import QrToScan from './QrToScan.js';
import StateCard from './StateCard.js';
import Steps from './Steps.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Reasons after which there is no login: the next step is to link a phone. */
const unlinkedReasons = ['NOT_STARTED', 'QR_TIMEOUT', 'USER_LOGGED_OUT', 'LOGGED_OUT_BY_PHONE'];

/** Whether WhatsApp wants the passkey of an account that is linked already. */
const isChecked = ({ reason }: SessionView): boolean => reason?.code === 'ACCOUNT_PASSKEY_REQUIRED';

/** Whether a phone has to be linked, or is being linked for the first time. */
export function isLinking(session: SessionView): boolean {
  const { status, wasLinked, reason } = session;
  if (status === 'passkey_required') return !isChecked(session);
  if (status === 'qr_pending') return true;
  if (status === 'connected' || status === 'suspended') return false;
  if (status === 'disconnected' || status === 'error') return unlinkedReasons.includes(reason?.code ?? '');
  return !wasLinked;
}

/** The code to scan while a phone is being linked, the request for a passkey, otherwise the state of the session. */
const LinkPhone: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => (
  <>
    {isLinking(session) && <Steps status={session.status} />}
    {session.status === 'qr_pending' ? (
      <QrToScan session={session} />
    ) : session.status === 'passkey_required' ? (
      <PasskeyForm sessionId={session.id} isLinked={isChecked(session)} onNotice={onNotice} />
    ) : (
      <StateCard session={session} onNotice={onNotice} />
    )}
  </>
);
export default LinkPhone;
