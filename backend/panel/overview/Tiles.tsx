import React from 'react';
import type { Overview } from '../../src/admin/overview.js';
import { root } from '../api.js';
import Tile from './Tile.js';
import { agoText } from '../words.js';

const lists = `${root}/resources`;
const messages = (filter: string): string => `${lists}/messages?filters.${filter}`;

/** The current figures. */
const Tiles: React.FC<{ overview: Overview }> = ({ overview: { sessions, today, queue, at } }) => (
  <div className="cq-tiles">
    <Tile
      label="Sessions connected"
      value={sessions.connected}
      of={sessions.total}
      to={`${lists}/sessions`}
      tone={sessions.connected < sessions.total ? 'warn' : 'good'}
    />
    <Tile label="Sent today" value={today.sent} to={messages('direction=outbound')} />
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
  </div>
);
export default Tiles;
