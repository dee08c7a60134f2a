import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';
import { useNow } from '../api.js';
import { useStatus } from '../status.js';
import { agoText, exactText } from '../words.js';

interface StateCardProps {
  session: SessionView;
  onNotice: (notice: Notice) => void;
}

/** What a session that shows no code is doing: what is the case, since when, what happens next, and the button that helps. */
const StateCard: React.FC<StateCardProps> = ({ session, onNotice }) => {
  const now = useNow(1_000);
  const silence = useStatus().value?.silentWorkers.find(({ id }) => id === session.workerId);
  const { what, next, tone, since } = stateOf(session, silence?.since ?? null);
  return (
    <div className={`cq-state cq-${tone}`} data-testid="state-card">
      <i aria-hidden="true">{tone === 'good' ? '✓' : '!'}</i>
      <div>
        <p role="status">
          <strong>{what}</strong>
        </p>
        {since !== null && (
          <p>
            Since {exactText(since)} ({agoText(since, now)}).
          </p>
        )}
        <p>
          {next} {session.status !== 'connected' && session.reason && <code>{session.reason.code}</code>}
        </p>
        <Help session={session} onNotice={onNotice} />
      </div>
    </div>
  );
};
export default StateCard;

interface State {
  what: string;
  next: string;
  tone: 'good' | 'warn' | 'bad' | 'idle';
  since: number | null;
}

function stateOf(session: SessionView, silentSince: number | null): State {
  const { status, reason, offlineSince, connectedAt, pushName, wasLinked } = session;
  if (status === 'connected' && silentSince !== null)
    return {
      what: 'Its worker is silent, so that it is unknown whether the phone is connected.',
      next: 'Messages wait. The session comes back by itself when the worker answers.',
      tone: 'bad',
      since: silentSince,
    };
  if (status === 'connected')
    return {
      what: `${pushName ?? 'The phone'} is connected.`,
      next: 'Messages are sent and received.',
      tone: 'good',
      since: connectedAt,
    };
  if (status === 'initializing' || status === 'connecting')
    return {
      what: status === 'connecting' ? 'WhatsApp is syncing.' : 'The browser is starting.',
      next: 'It takes a few seconds. If the login is still valid it connects by itself; otherwise the code appears here.',
      tone: wasLinked ? 'warn' : 'idle',
      since: offlineSince,
    };
  if (!reason) return { what: 'The session is not connected.', next: 'Press “Start”.', tone: 'idle', since: offlineSince };
  const tone = reason.isWanted ? 'idle' : reason.by === 'itself' ? 'warn' : 'bad';
  return { what: reason.what, next: reason.next, tone, since: offlineSince };
}

/** The one button that ends the state, where there is one. */
const Help: React.FC<StateCardProps> = ({ session, onNotice }) => {
  const { status, desired, reason, id } = session;
  const onError = (text: string): void => onNotice({ tone: 'bad', text });
  if (status !== 'disconnected' && status !== 'error') return null;
  // It comes back by itself; a second start would only interrupt that.
  if (desired === 'running' && reason?.by === 'itself') return null;
  return (
    <ActionButton
      label={reason?.code === 'QR_TIMEOUT' ? 'Show a new code' : 'Start'}
      path={`/live/sessions/${id}/start`}
      tone="main"
      onDone={() => onNotice({ tone: 'good', text: 'Starting. The code or the connection appears below.' })}
      onError={onError}
    />
  );
};
