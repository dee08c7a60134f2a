import React from 'react';
import { Link } from 'react-router-dom';
import type { Overview } from '../../src/admin/overview.js';
import { root, usePoll, zoneQuery } from '../api.js';
import { useOnAlerts, useStatus } from '../status.js';
import QuotaLeaders from '../usage/QuotaLeaders.js';
import FirstPhone from './FirstPhone.js';
import MessageChart from './MessageChart.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import Problems from './Problems.js';
import SessionBars from './SessionBars.js';
import SessionList from './SessionList.js';
import Tiles from './Tiles.js';
import WorkerLoad from '../workers/WorkerLoad.js';

const lists = `${root}/resources`;

/** The current figures of the installation, renewed every few seconds. Every figure links to its records. */
const Dashboard: React.FC = () => {
  const { value, error, reload } = usePoll<Overview>(`/live/overview?${zoneQuery()}`, 3000);
  const { value: status } = useStatus();
  useOnAlerts(reload);
  const live = error && <span className="cq-live cq-lost">{error}</span>;
  if (!value)
    return (
      <Page>
        <PageHead title="Overview" below={live} />
      </Page>
    );
  const { sessions, errors, workers, leaders, at } = value;
  return (
    <Page testId="dashboard">
      <PageHead title="Overview" below={live} />
      {sessions.total === 0 && <FirstPhone />}
      <Tiles overview={value} offline={status?.offline ?? 0} />
      <div className="cq-grid">
        <MessageChart />
        <Panel title="Sessions by state">
          <SessionBars of={sessions} />
        </Panel>
        <Panel title="Sessions" aside={<Link to={`${lists}/sessions`}>All</Link>}>
          <SessionList sessions={sessions.list} />
        </Panel>
        <Panel title="Last problems" aside={<Link to={`${lists}/messages?filters.status=failed`}>Failed messages</Link>}>
          <Problems errors={errors} />
        </Panel>
        <Panel title="Workers" aside={<Link to={`${root}/pages/workers`}>Details</Link>}>
          <WorkerLoad workers={workers} at={at} />
        </Panel>
        <Panel title="Daily quotas" aside={<Link to={`${root}/pages/usage`}>Usage</Link>}>
          <QuotaLeaders of={leaders.accounts.slice(0, 4)} resource="accounts" />
        </Panel>
      </div>
    </Page>
  );
};
export default Dashboard;
