import React, { useState } from 'react';
import type { UsageView } from '../../src/admin/views/usage-page.js';
import { usePoll } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import Empty from '../parts/Empty.js';
import LiveState from '../parts/LiveState.js';
import FailureReasons from './FailureReasons.js';
import QuotaLeaders from './QuotaLeaders.js';
import SessionUsage from './SessionUsage.js';
import UsageDays from './UsageDays.js';
import UsageFilter, { type UsageChoice } from './UsageFilter.js';
import UsageHours from './UsageHours.js';
import UsageTiles from './UsageTiles.js';
import { zoneName } from '../words.js';

const queryOf = ({ days, accountId, sessionId }: UsageChoice): string =>
  new URLSearchParams({
    days: String(days),
    ...(accountId ? { accountId } : {}),
    ...(sessionId ? { sessionId } : {}),
  }).toString();

/** How much is sent and received, when, by whom, and what fails. From counts, which remain when messages are deleted. */
const UsagePage: React.FC = () => {
  const [choice, setChoice] = useState<UsageChoice>({ days: 30, accountId: '', sessionId: '' });
  const query = queryOf(choice);
  const polled = usePoll<UsageView>(`/live/usage?${query}`, 30_000);
  const { value } = polled;
  const text = `Live, days and hours of ${value ? zoneName(value.report.timezone) : ''}`;
  return (
    <Page testId="usage">
      <PageHead title="Usage" below={<LiveState of={polled} text={text} />} />
      <UsageFilter choice={choice} onChange={setChoice} tablePath={`/live/usage/table?${query}`} />
      {value && <Figures value={value} />}
    </Page>
  );
};
export default UsagePage;

const Figures: React.FC<{ value: UsageView }> = ({ value: { report, days, leaders } }) => (
  <>
    <UsageTiles report={report} />
    <div className="cq-grid">
      <Panel title="Messages per day" wide>
        <UsageDays days={days} />
      </Panel>
      <Panel title="Failures by reason">
        {report.failuresByReason.length > 0 ? (
          <FailureReasons of={report.failuresByReason} total={report.failed} />
        ) : (
          <Empty title="Nothing failed">
            <p>Messages that WhatsApp refuses, or that expire, are counted here by their reason.</p>
          </Empty>
        )}
      </Panel>
      <Panel title="Busiest hours" wide>
        <UsageHours hours={report.byWeekdayAndHour} />
      </Panel>
      <Panel title="Busiest sessions">
        <SessionUsage of={report.bySession} />
      </Panel>
      <Panel title="Quotas today: accounts">
        <QuotaLeaders of={leaders.accounts} resource="accounts" />
      </Panel>
      <Panel title="Quotas today: sessions">
        <QuotaLeaders of={leaders.sessions} resource="sessions" />
      </Panel>
    </div>
  </>
);
