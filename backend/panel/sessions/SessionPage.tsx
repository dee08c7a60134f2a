import React, { useState } from 'react';
import type { ActionProps } from 'adminjs';
import { root } from '../api.js';
import Badge from '../parts/Badge.js';
import EventList from '../records/EventList.js';
import Capabilities from './Capabilities.js';
import Glance from './Glance.js';
import LinkPhone from './LinkPhone.js';
import { useSession } from '../live.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import NoticeLine, { type Notice } from '../parts/NoticeLine.js';
import SendForm from './SendForm.js';
import AccountHealth from './AccountHealth.js';
import SessionActions from './SessionActions.js';
import SessionFacts from './SessionFacts.js';
import SessionHealth from './SessionHealth.js';
import SessionLimits from './SessionLimits.js';
import SessionTimes from './SessionTimes.js';
import SessionSettings from './SessionSettings.js';
import Steps from './Steps.js';
import { sessionWord } from '../words.js';

const back = { to: `${root}/resources/sessions`, label: 'Sessions' };

/** One session, live: its state, its QR code while it waits for a scan, its limits, and a form that sends a message. */
const SessionPage: React.FC<ActionProps> = ({ record }) => {
  const id = record?.id ?? '';
  const { session, state } = useSession(id);
  const [notice, setNotice] = useState<Notice | null>(null);
  if (state === 'gone')
    return (
      <div className="cq-page">
        <PageHead title="This session was deleted" back={back} />
      </div>
    );
  if (!session)
    return (
      <div className="cq-page">
        <PageHead title={String(record?.params['name'] ?? 'Session')} back={back} />
      </div>
    );
  const [word, tone] = sessionWord(session.status);
  const reason = session.status === 'connected' ? null : session.reason;
  return (
    <div className="cq-page" data-testid="session" data-status={session.status}>
      <PageHead
        title={session.name}
        back={back}
        below={
          <>
            <Badge tone={tone}>{word}</Badge>
            {session.phoneNumber && <span>+{session.phoneNumber.replace(/^\+/, '')}</span>}
            {session.account.name && <span>{session.account.name}</span>}
            {state === 'lost' && <span className="cq-live cq-lost">Connection lost. Reconnecting.</span>}
          </>
        }
      >
        <SessionActions session={session} onNotice={setNotice} />
      </PageHead>
      <NoticeLine notice={notice} />
      <AccountHealth session={session} onNotice={setNotice} />
      {session.compat.length > 0 && (
        <p className="cq-note cq-warn">
          WhatsApp Web changed in a way that some functions cannot follow yet:{' '}
          {session.compat.map((report) => report.defect).join(', ')}.
        </p>
      )}
      <div className="cq-columns">
        <div>
          <Panel title={session.status === 'connected' ? 'Connected' : 'Link this phone'}>
            <Steps status={session.status} />
            {reason && reason.code !== 'WAITING_FOR_SCAN' && (
              <p className={`cq-note cq-${tone === 'idle' ? 'info' : tone}`}>
                {reason.message} <code>{reason.code}</code>
              </p>
            )}
            <LinkPhone session={session} onNotice={setNotice} />
          </Panel>
          <Panel title="Try it: send a message">
            <SendForm session={session} />
          </Panel>
          <Panel title="At a glance">
            <Glance session={session} />
          </Panel>
        </div>
        <div>
          <Panel title="Details">
            <SessionFacts session={session} />
          </Panel>
          <Panel title="Limits and storage">
            <SessionLimits session={session} onNotice={setNotice} />
          </Panel>
          <Panel title="Quiet hours and warm-up">
            <SessionTimes session={session} onNotice={setNotice} />
          </Panel>
          <Panel title="Health">
            <SessionHealth session={session} />
          </Panel>
          <Panel title="What works">
            <Capabilities sessionId={id} />
          </Panel>
          <Panel title="Settings">
            <SessionSettings session={session} onNotice={setNotice} />
          </Panel>
          <Panel title="Last events">
            <EventList path={`/live/events?sessionId=${encodeURIComponent(id)}`} short />
          </Panel>
        </div>
      </div>
    </div>
  );
};
export default SessionPage;
