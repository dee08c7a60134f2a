import React from 'react';
import { Link } from 'react-router-dom';
import type { Overview } from '../overview.js';
import { root, usePoll } from './api.js';
import Ago from './Ago.js';
import Empty from './Empty.js';
import MessageChart from './MessageChart.js';
import PageHead from './PageHead.js';
import Panel from './Panel.js';
import SessionBars from './SessionBars.js';
import SessionList from './SessionList.js';
import Tile from './Tile.js';
import WorkerLoad from './WorkerLoad.js';
import { agoText } from './words.js';

const lists = `${root}/resources`;
const messages = (status: string): string => `${lists}/messages?filters.status=${status}`;

/** What the gateway does at this moment. Renews itself; every figure leads to what is behind it. */
const Dashboard: React.FC = () => {
  const { value, error } = usePoll<Overview>('/live/overview', 3000);
  if (!value)
    return (
      <div className="cq-page">{error ? <p className="cq-note cq-bad">{error}</p> : <p className="cq-soft">Loading …</p>}</div>
    );
  const { sessions, today, queue, workers, errors, at } = value;
  const waiting = queue.queued + queue.sending;
  return (
    <div className="cq-page" data-testid="dashboard">
      <PageHead title="Overview" below={<span className={error ? 'cq-live cq-lost' : 'cq-live'}>{error ?? 'Live'}</span>} />
      {sessions.total === 0 && (
        <section className="cq-panel cq-first">
          <Empty title="Link your first phone">
            <p>Make a session, scan its code with WhatsApp on the phone, and send a message. It takes a minute.</p>
            <Link className="cq-button cq-main" to={`${lists}/sessions/actions/new`}>
              New session
            </Link>
          </Empty>
        </section>
      )}
      <div className="cq-tiles">
        <Tile
          label="Sessions connected"
          value={sessions.connected}
          of={sessions.total}
          to={`${lists}/sessions`}
          tone={sessions.connected < sessions.total ? 'warn' : 'good'}
        />
        <Tile label="Sent today" value={today.sent} to={`${lists}/messages?filters.direction=outbound`} />
        <Tile label="Received today" value={today.received} to={`${lists}/messages?filters.direction=inbound`} />
        <Tile label="Failed today" value={today.failed} to={messages('failed')} tone={today.failed > 0 ? 'bad' : undefined} />
        <Tile
          label="In the queue"
          value={waiting}
          to={messages('queued')}
          hint={queue.oldestQueuedAt ? `oldest ${agoText(queue.oldestQueuedAt, at)}` : 'nothing waits'}
        />
        <Tile
          label="Uncertain"
          value={queue.uncertain}
          to={messages('uncertain')}
          tone={queue.uncertain > 0 ? 'warn' : undefined}
          hint={queue.uncertain > 0 ? 'look and settle' : 'none'}
        />
      </div>
      <div className="cq-grid">
        <MessageChart />
        <Panel title="Sessions by state">
          <SessionBars byStatus={sessions.byStatus} total={sessions.total} />
        </Panel>
        <Panel title="Sessions" aside={<Link to={`${lists}/sessions`}>All</Link>}>
          <SessionList sessions={sessions.list} />
        </Panel>
        <Panel title="Last problems" aside={<Link to={messages('failed')}>Failed messages</Link>}>
          {errors.length === 0 ? <p className="cq-soft">Nothing went wrong in the last 24 hours.</p> : null}
          <ul className="cq-list">
            {errors.map((problem) => (
              <li key={`${problem.kind}${problem.id}`}>
                <Link to={`${lists}/${problem.kind}s/records/${problem.id}/show`}>{problem.title}</Link>
                <Ago at={problem.at} />
                <small>{problem.detail}</small>
              </li>
            ))}
          </ul>
        </Panel>
        <Panel title="Workers" aside={<Link to={`${root}/pages/workers`}>Details</Link>}>
          <WorkerLoad workers={workers} at={at} />
        </Panel>
      </div>
    </div>
  );
};
export default Dashboard;
