import React from 'react';
import type { Overview } from '../../src/admin/overview.js';
import { root } from '../api.js';
import Tile from './Tile.js';
import { agoText, count, zoneName } from '../words.js';

const lists = `${root}/resources`;
const messages = (filter: string): string => `${lists}/messages?filters.${filter}`;

function hintOf(unconfirmed: number, offline: number): string {
  if (unconfirmed > 0) return `${count(offline)} offline, ${count(unconfirmed)} of them not confirmed`;
  return offline > 0 ? `${count(offline)} offline` : 'no phone is offline';
}

function jobHint({ failing, running, stopped, hasLeader }: Overview['jobs']): string {
  if (!hasLeader) return 'no backend runs them';
  if (stopped > 0) return `${count(stopped)} stopped`;
  return running > 0 ? `${count(running)} running` : failing > 0 ? 'their page says why' : 'all run by their schedules';
}

/** The current figures. */
const Tiles: React.FC<{ overview: Overview; offline: number }> = ({
  overview: { sessions, today, queue, deliveries, jobs, at, timezone },
  offline,
}) => (
  <div className="cq-tiles">
    <Tile
      label="Sessions connected"
      value={sessions.connected}
      of={sessions.total}
      to={`${lists}/sessions`}
      tone={offline > 0 ? 'bad' : sessions.connected > 0 ? 'good' : undefined}
      hint={hintOf(sessions.unconfirmed, offline)}
    />
    <Tile
      label="Sent today"
      value={today.sent}
      to={messages('direction=outbound')}
      hint={`since midnight in ${zoneName(timezone)}`}
    />
    <Tile label="Received today" value={today.received} to={messages('direction=inbound')} />
    <Tile label="Failed today" value={today.failed} to={messages('status=failed')} tone={today.failed > 0 ? 'bad' : undefined} />
    <Tile
      label="In the queue"
      value={queue.queued + queue.sending}
      to={messages('status=queued')}
      hint={queue.oldestQueuedAt ? `oldest ${agoText(queue.oldestQueuedAt, at)}` : 'no message waits'}
    />
    <Tile
      label="Uncertain"
      value={queue.uncertain}
      to={messages('status=uncertain')}
      tone={queue.uncertain > 0 ? 'warn' : undefined}
      hint={queue.uncertain > 0 ? 'check and resolve' : 'none'}
    />
    <Tile
      label="Webhooks failing"
      value={deliveries.failing}
      of={deliveries.webhooks}
      to={`${lists}/webhooks`}
      tone={deliveries.failing > 0 ? 'bad' : undefined}
      hint={deliveries.waiting === 0 ? 'no delivery waits' : `${count(deliveries.waiting)} deliveries wait`}
    />
    <Tile
      label="Jobs failing"
      value={jobs.failing}
      to={`${root}/pages/jobs`}
      tone={jobs.failing > 0 || !jobs.hasLeader ? 'bad' : jobs.stopped > 0 ? 'warn' : undefined}
      hint={jobHint(jobs)}
    />
  </div>
);
export default Tiles;
