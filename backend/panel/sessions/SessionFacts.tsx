import React from 'react';
import { Link } from 'react-router-dom';
import type { SessionView } from '../../src/admin/views/session.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import { count, memory } from '../words.js';

/** The details of a session. */
const SessionFacts: React.FC<{ session: SessionView }> = ({ session }) => (
  <Facts
    of={[
      [
        'Account',
        <Link to={`${root}/resources/accounts/records/${session.account.id}/show`}>
          {session.account.name ?? session.account.id}
        </Link>,
      ],
      ['Name on WhatsApp', session.pushName],
      ['Device name', session.deviceName],
      ['Number for pairing codes', session.pairingNumber],
      ['Phone platform', session.platform],
      ['Last seen', <Ago at={session.lastSeen} none="never" />],
      ['Created', <Ago at={session.createdAt} />],
      [
        'Sent / received / failed',
        `${count(session.counters.sent)} / ${count(session.counters.received)} / ${count(session.counters.failed)}`,
      ],
      ['Worker', session.workerId],
      ['Browser memory', session.memoryMb === null ? null : memory(session.memoryMb)],
      ['Round trip', session.roundTripMs === null ? null : `${session.roundTripMs} ms`],
      ['WhatsApp Web', session.whatsappWebVersion],
      ['Last error', session.lastError],
      ['Id', <code>{session.id}</code>],
      ['Messages', <Link to={`${root}/resources/messages?filters.sessionId=${session.id}`}>Show all</Link>],
    ]}
  />
);
export default SessionFacts;
