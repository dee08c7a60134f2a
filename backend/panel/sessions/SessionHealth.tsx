import React, { useEffect, useState } from 'react';
import type { SessionHealth as Health } from '@chasqui/shared';
import type { SessionView } from '../../src/admin/views/session.js';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';

const timeOf = (time: string | null): React.ReactNode => (time === null ? 'never' : <Ago at={Date.parse(time)} />);
const copyOf = ({ loginCopy }: Health): React.ReactNode =>
  loginCopy ? (
    <>
      <Ago at={Date.parse(loginCopy.copiedAt)} />, {(loginCopy.bytes / 1_048_576).toFixed(1)} MB
    </>
  ) : (
    'none yet'
  );
const repairs = {
  reload: 'loading the page again',
  restart: 'starting the browser again',
  restore: 'restoring a copy of the login',
};

/** What the worker measures of a session. It is asked on a click only: the page itself never waits for a worker. */
const SessionHealth: React.FC<{ session: SessionView }> = ({ session }) => {
  const [health, setHealth] = useState<Health | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => setHealth(null), [session.id]);
  return (
    <div className="cq-stack" data-testid="health">
      <ActionButton
        label={health ? 'Ask again' : 'Ask the worker'}
        path={`/live/sessions/${session.id}/health`}
        onDone={(answer) => {
          setHealth(answer as Health);
          setProblem(null);
        }}
        onError={setProblem}
      />
      {problem && <p role="alert">{problem}</p>}
      {health && <Measured health={health} />}
    </div>
  );
};
export default SessionHealth;

const Measured: React.FC<{ health: Health }> = ({ health }) => (
  <>
    {health.stale && <p className="cq-note cq-warn">The worker does not answer. These are the last known figures.</p>}
    {health.restrictions.map(({ kind, message }) => (
      <p key={kind} className="cq-note cq-bad">
        {message} <code>{kind}</code>
      </p>
    ))}
    <Facts
      of={[
        ['Round trip', health.roundTripMs === null ? 'not measured' : `${health.roundTripMs} ms`],
        ['Measured', timeOf(health.lastRoundTripAt)],
        ['Last event of the page', timeOf(health.canaryAt)],
        ['Repair', health.recoveryStep && repairs[health.recoveryStep]],
        [
          'Pace',
          health.throttle && (
            <>
              {Math.round(health.throttle.factor * 100)} % until <Ago at={Date.parse(health.throttle.until)} />
            </>
          ),
        ],
        ['Linked devices', health.linkedDevices?.count],
        ['Copy of the login', copyOf(health)],
      ]}
    />
  </>
);
