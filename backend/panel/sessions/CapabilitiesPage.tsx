import React from 'react';
import { Link } from 'react-router-dom';
import type { AllCapabilitiesView } from '../../src/admin/views/capabilities.js';
import { root, usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import Empty from '../parts/Empty.js';
import LiveState from '../parts/LiveState.js';
import { count } from '../words.js';
import { CapabilityList } from './Capabilities.js';

/** What the sessions can do with the WhatsApp Web that they run, and which operations do not work, with the reason. */
const CapabilitiesPage: React.FC = () => {
  const polled = usePoll<AllCapabilitiesView>('/live/capabilities', 15_000);
  const { value, error } = polled;
  return (
    <Page>
      <PageHead title="Capabilities" below={<LiveState of={polled} />} />
      {value?.groups.map((group) => (
        <Panel
          key={group.sessions[0]!.id}
          title={`WhatsApp Web ${group.whatsappWebVersion ?? 'of an unknown build'}`}
          aside={<span className="cq-soft">{sessionsText(group.sessions.length)}</span>}
        >
          <p>
            {group.sessions.slice(0, maxNamed).map(({ id, name }, index) => (
              <React.Fragment key={id}>
                {index > 0 && ', '}
                <Link to={`${root}/resources/sessions/records/${id}/show`}>{name}</Link>
              </React.Fragment>
            ))}
            {group.sessions.length > maxNamed && ` and ${count(group.sessions.length - maxNamed)} more`}
          </p>
          <CapabilityList of={group} />
        </Panel>
      ))}
      {value && value.unchecked > 0 && value.groups.length > 0 && (
        <p className="cq-soft">
          {sessionsText(value.unchecked)} {value.unchecked === 1 ? 'has' : 'have'} not been linked yet: a page is checked when its
          session is connected.
        </p>
      )}
      {!value && <p className="cq-soft">{error ?? 'Loading …'}</p>}
      {value?.groups.length === 0 && (
        <section className="cq-panel cq-roomy">
          <Empty title="No page was checked yet">
            <p className="cq-soft">
              When a session is connected, its page is asked for everything that the operations need. The outcome is shown here.
            </p>
          </Empty>
        </section>
      )}
    </Page>
  );
};
export default CapabilitiesPage;

const maxNamed = 12;
const sessionsText = (n: number): string => `${count(n)} ${n === 1 ? 'session' : 'sessions'}`;
