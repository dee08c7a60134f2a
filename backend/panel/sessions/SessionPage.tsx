import React, { useCallback, useState } from 'react';
import type { ActionProps } from 'adminjs';
import { root } from '../api.js';
import EventList from '../records/EventList.js';
import Capabilities from './Capabilities.js';
import Glance from './Glance.js';
import LinkPhone, { isLinking } from './LinkPhone.js';
import { useSession } from '../live.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import NoticeLine, { type Notice } from '../parts/NoticeLine.js';
import Tabs, { useTab } from '../parts/Tabs.js';
import { useCodeRenewal } from './renewal.js';
import SendForm from './SendForm.js';
import AccountHealth from './AccountHealth.js';
import SessionActions from './SessionActions.js';
import SessionBadge from './SessionBadge.js';
import SessionDanger from './SessionDanger.js';
import SessionFacts from './SessionFacts.js';
import SessionHealth from './SessionHealth.js';
import SessionKeys from './SessionKeys.js';
import SessionLimits from './SessionLimits.js';
import SessionTimes from './SessionTimes.js';
import SessionSettings from './SessionSettings.js';
import SessionWebhooks from './SessionWebhooks.js';
import { phoneText } from '../words.js';
import type { SessionView } from '../../src/admin/views/session.js';

const back = { to: `${root}/resources/sessions`, label: 'Sessions' };
const tabs = [
  ['state', 'State'],
  ['chats', 'Chats'],
  ['settings', 'Settings'],
  ['webhooks', 'Webhooks'],
  ['keys', 'Keys'],
  ['events', 'Events'],
  ['health', 'Health'],
] as const;

/** One session, live: its state or its QR code, a form that sends a message, and in tabs its chats, settings, webhooks, keys, events and health. */
const SessionPage: React.FC<ActionProps> = ({ record }) => {
  const { session, state } = useSession(record?.id ?? '');
  if (state === 'gone')
    return (
      <Page>
        <PageHead title="This session was deleted" back={back} />
      </Page>
    );
  if (!session)
    return (
      <Page>
        <PageHead title={String(record?.params['name'] ?? 'Session')} back={back} below="Loading …" />
      </Page>
    );
  return <Known session={session} isLost={state === 'lost'} />;
};
export default SessionPage;

const Known: React.FC<{ session: SessionView; isLost: boolean }> = ({ session, isLost }) => {
  const [notice, setNotice] = useState<Notice | null>(null);
  const show = useCallback((next: Notice): void => setNotice(next), []);
  const tab = useTab(tabs);
  useCodeRenewal(session, show);
  return (
    <Page testId="session" status={session.status}>
      <PageHead
        title={session.name}
        back={back}
        below={
          <>
            <SessionBadge
              status={session.status}
              workerId={session.workerId}
              isLinked={session.wasLinked}
              reason={session.reason}
            />
            {session.phoneNumber && <span>{phoneText(session.phoneNumber)}</span>}
            {session.account.name && <span>{session.account.name}</span>}
            {isLost && <span className="cq-live cq-lost">Connection lost. Reconnecting.</span>}
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
      <Tabs label="Parts of this session" tabs={tabs} current={tab} />
      <TabContent tab={tab} session={session} onNotice={setNotice} />
    </Page>
  );
};

interface ContentProps {
  tab: string;
  session: SessionView;
  onNotice: (notice: Notice) => void;
}

const TabContent: React.FC<ContentProps> = ({ tab, session, onNotice }) => {
  switch (tab) {
    case 'chats':
      return (
        <Panel title="Chats, groups and contacts">
          <Glance session={session} />
        </Panel>
      );
    case 'settings':
      return <SettingsTab session={session} onNotice={onNotice} />;
    case 'webhooks':
      return (
        <Panel title="Webhooks">
          <SessionWebhooks session={session} />
        </Panel>
      );
    case 'keys':
      return (
        <Panel title="Keys">
          <SessionKeys session={session} />
        </Panel>
      );
    case 'events':
      return (
        <Panel title="Events">
          <EventList path={`/live/events?sessionId=${encodeURIComponent(session.id)}`} />
        </Panel>
      );
    case 'health':
      return (
        <div className="cq-columns">
          <Panel title="What works">
            <Capabilities sessionId={session.id} />
          </Panel>
          <Panel title="Health">
            <SessionHealth session={session} />
          </Panel>
        </div>
      );
    default:
      return <StateTab session={session} onNotice={onNotice} />;
  }
};

type PartProps = Omit<ContentProps, 'tab'>;

const StateTab: React.FC<PartProps> = ({ session, onNotice }) => (
  <div className="cq-columns">
    <div>
      <Panel title={isLinking(session) ? 'Link this phone' : 'State'}>
        <LinkPhone session={session} onNotice={onNotice} />
      </Panel>
      <SendPanel session={session} />
    </div>
    <div>
      <Panel title="Details">
        <SessionFacts session={session} />
      </Panel>
      <Panel title="Last events">
        <EventList path={`/live/events?sessionId=${encodeURIComponent(session.id)}`} short />
      </Panel>
    </div>
  </div>
);

/** The form that sends a message, where a message would be accepted. */
const SendPanel: React.FC<{ session: SessionView }> = ({ session }) => {
  const { status, settings } = session;
  if (status === 'suspended' || (status !== 'connected' && !settings.queueIfOffline)) return null;
  return (
    <Panel title="Try it: send a message">
      <SendForm session={session} />
    </Panel>
  );
};

const SettingsTab: React.FC<PartProps> = ({ session, onNotice }) => (
  <div className="cq-columns">
    <div>
      <Panel title="Settings">
        <SessionSettings session={session} onNotice={onNotice} />
      </Panel>
      <Panel title="Quiet hours and warm-up">
        <SessionTimes session={session} onNotice={onNotice} />
      </Panel>
    </div>
    <div>
      <Panel title="Limits and storage">
        <SessionLimits session={session} onNotice={onNotice} />
      </Panel>
      <Panel title="Name and deletion">
        <SessionDanger session={session} onNotice={onNotice} />
      </Panel>
    </div>
  </div>
);
