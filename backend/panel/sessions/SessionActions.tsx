import React, { useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import ActionButton from '../parts/ActionButton.js';
import SuspendForm from './SuspendForm.js';
import type { Notice } from '../parts/NoticeLine.js';

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
        onError={(text) => onNotice({ tone: 'bad', text })}
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
          question="They were accepted for the previous WhatsApp account. Send them as the one that is linked now?"
          {...notify('They are in the queue again.')}
        />
      )}
      {session.heldMessages > 0 && (
        <ActionButton
          label={`Cancel ${session.heldMessages}`}
          path={`${path}/held-messages`}
          body={{ decision: 'cancel' }}
          tone="danger"
          question="Cancel the messages of the previous WhatsApp account?"
          {...notify('Cancelled.')}
        />
      )}
      {!isRunning && (
        <ActionButton
          label="Start"
          path={`${path}/start`}
          tone="main"
          {...notify('Starting. The code or the connection appears below.')}
        />
      )}
      {isRunning && (
        <>
          <ActionButton
            label="Restart"
            path={`${path}/restart`}
            question="Restart the browser of this session?"
            {...notify('Restarting.')}
          />
          <ActionButton
            label="Stop"
            path={`${path}/stop`}
            question="Stop it? The login is kept."
            {...notify('Stopped. The login is kept.')}
          />
        </>
      )}
      <button type="button" className="cq-button" onClick={() => setSuspending(true)}>
        Suspend
      </button>
      <ActionButton
        label="Log out"
        path={`${path}/logout`}
        tone="danger"
        question="Unlink the phone and delete the login?"
        {...notify('Logged out. Start it to link a phone again.')}
      />
    </>
  );
};
export default SessionActions;
