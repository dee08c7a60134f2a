import React, { useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import ActionButton from '../parts/ActionButton.js';
import SuspendForm from './SuspendForm.js';
import { count, phoneText } from '../words.js';
import type { Notice } from '../parts/NoticeLine.js';

const messages = (number: number): string => (number === 1 ? '1 message' : `${count(number)} messages`);
const runningStatuses = ['initializing', 'qr_pending', 'passkey_required', 'connecting', 'connected'];

/** The actions that the state of a session allows. */
const SessionActions: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const [suspending, setSuspending] = useState(false);
  const path = `/live/sessions/${session.id}`;
  const notify = (text: string) => ({
    onDone: () => onNotice({ tone: 'good', text }),
    onError: (problem: string) => onNotice({ tone: 'bad', text: problem }),
  });
  if (session.status === 'suspended')
    return (
      <ActionButton
        label="Resume"
        path={`${path}/resume`}
        tone="main"
        question={`Resume the session ${session.name}?`}
        consequence="It may be started and used again."
        {...notify('Resumed. Start it when you want it to run.')}
      />
    );
  if (suspending)
    return (
      <SuspendForm
        path={`${path}/suspend`}
        onCancel={() => setSuspending(false)}
        onDone={() => {
          setSuspending(false);
          onNotice({ tone: 'good', text: 'Suspended. Nothing is sent until it is resumed.' });
        }}
      />
    );
  const isRunning = runningStatuses.includes(session.status);
  return (
    <>
      {session.heldMessagesToSend > 0 && (
        <ActionButton
          label={`Send ${session.heldMessagesToSend} as this account`}
          path={`${path}/held-messages`}
          body={{ decision: 'send' }}
          question={`Send ${messages(session.heldMessagesToSend)} of ${session.name} as the account that is linked now?`}
          consequence="They were accepted for the WhatsApp account that was linked before."
          {...notify('They are in the queue again.')}
        />
      )}
      {session.heldMessages > 0 && (
        <ActionButton
          label={`Cancel ${session.heldMessages}`}
          path={`${path}/held-messages`}
          body={{ decision: 'cancel' }}
          tone="danger"
          question={`Cancel ${messages(session.heldMessages)} of ${session.name}?`}
          consequence="They were accepted for the WhatsApp account that was linked before, and are never sent."
          {...notify('Cancelled.')}
        />
      )}
      {isRunning && (
        <>
          <ActionButton
            label="Restart"
            path={`${path}/restart`}
            question={`Restart the browser of ${session.name}?`}
            consequence="It is offline for a few seconds. Messages wait meanwhile."
            {...notify('Restarting.')}
          />
          <ActionButton
            label="Stop"
            path={`${path}/stop`}
            question={`Stop ${session.name}?`}
            consequence="Nothing is sent or received until it is started again. The login is kept."
            {...notify('Stopped. The login is kept.')}
          />
        </>
      )}
      <button type="button" className="cq-button" onClick={() => setSuspending(true)}>
        Suspend
      </button>
      <ActionButton
        label="Unlink phone"
        path={`${path}/logout`}
        tone="danger"
        question={`Unlink ${session.phoneNumber ? phoneText(session.phoneNumber) : 'the phone'} from ${session.name}?`}
        consequence="The login is deleted. Nothing is sent or received until someone scans a new code with the phone."
        {...notify('Unlinked. Press “Start” to link a phone again.')}
      />
    </>
  );
};
export default SessionActions;
