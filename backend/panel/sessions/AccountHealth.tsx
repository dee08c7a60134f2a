import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';
import { exactText } from '../words.js';

type Kind = SessionView['restrictions'][number]['kind'];

/** The next step of a person, for each restriction. */
const steps: Record<Kind, string> = {
  terms_block: 'Open WhatsApp on the phone and ask for a review there. Then start the session again.',
  temporary_ban: 'Wait for its end, start the session again, and write less to people who do not know this number.',
  challenge: 'Open WhatsApp on the phone and confirm what it asks. If it asks nothing, restart the session.',
  reach_out_lock: 'Answer people who write first. Messages to new chats fail until the lock ends.',
  outdated_version: 'The page is loaded again. If this stays, update Chasqui.',
  proxy_block: 'Use another network or proxy, then start the session again.',
};

const reasons: Record<string, string> = {
  failed_first_contacts: 'because WhatsApp refused a fifth of the last messages to new chats',
  reach_out_lock: 'because WhatsApp locked new chats',
  terms_block: 'because WhatsApp blocked the account',
  temporary_ban: 'because WhatsApp banned the account for a time',
  challenge: 'because WhatsApp checked the account',
};

/** What WhatsApp holds against the account of a session, and whether the session is slowed down for it. Empty if there is nothing. */
const AccountHealth: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const { restrictions, throttle } = session;
  return (
    <>
      {restrictions.map(({ kind, message, until }) => (
        <div key={kind} className="cq-note cq-bad" data-testid={`restriction-${kind}`}>
          <strong>{message}</strong> {until && <>Until {exactText(Date.parse(until))}. </>}
          {/* This message says the next step itself, and the form for it is on the page. */}
          {session.reason?.code === 'ACCOUNT_PASSKEY_REQUIRED' && kind === 'challenge' ? null : steps[kind]}
        </div>
      ))}
      {throttle && (
        <div className="cq-note cq-warn cq-line" data-testid="throttle">
          <span>
            Sends at {Math.round(throttle.factor * 100)} % of its pace until {exactText(Date.parse(throttle.until))},{' '}
            {reasons[throttle.reason] ?? 'after a restriction'}. It recovers by itself.
          </span>
          <ActionButton
            label="Send at full pace"
            path={`/live/sessions/${session.id}/unthrottle`}
            question={`Send at full pace with ${session.name} again?`}
            consequence="WhatsApp may restrict the account for longer."
            onDone={() => onNotice({ tone: 'good', text: 'The session sends at its own pace again.' })}
            onError={(text) => onNotice({ tone: 'bad', text })}
          />
        </div>
      )}
    </>
  );
};
export default AccountHealth;
