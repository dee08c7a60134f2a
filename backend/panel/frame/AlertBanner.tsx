import React from 'react';
import { Link } from 'react-router-dom';
import type { Alert } from '../../src/admin/alert.js';
import { root, useNow } from '../api.js';
import { useStatus, type KnownStatus } from '../status.js';
import { agoText, exactText, inText } from '../words.js';

/** Alerts that are shown at once. The others open with a click. */
const shown = 2;

/** What is wrong now, on every page: what, since when, what happens next, and where to act. Nothing while all is well. */
const AlertBanner: React.FC = () => {
  const status = useStatus();
  const now = useNow(1_000);
  const silence = silenceOf(status, now);
  const alerts = status.value?.alerts ?? [];
  const rest = alerts.slice(shown);
  return (
    <section className="cq-alerts" aria-label="Alerts" aria-live="polite" data-testid="alerts">
      {silence && <Line {...silence} tone="bad" isStale={false} />}
      {alerts.slice(0, shown).map((alert) => (
        <AlertLine key={alert.kind + alert.link.to + alert.what} alert={alert} now={now} isStale={silence !== null} />
      ))}
      {rest.length > 0 && (
        <details>
          <summary>
            {rest.length} more {rest.length === 1 ? 'alert' : 'alerts'}
          </summary>
          {rest.map((alert) => (
            <AlertLine key={alert.kind + alert.link.to + alert.what} alert={alert} now={now} isStale={silence !== null} />
          ))}
        </details>
      )}
    </section>
  );
};
export default AlertBanner;

interface LineProps {
  tone: 'warn' | 'bad';
  isStale: boolean;
  what: string;
  since: number | null;
  now: number;
  next: string;
  code?: string | null;
  link?: Alert['link'];
}

const Line: React.FC<LineProps> = ({ tone, isStale, what, since, now, next, code, link }) => (
  <div className={`cq-alert cq-${tone}`} data-stale={isStale || undefined}>
    <i aria-hidden="true">!</i>
    <p>
      <strong>{what}</strong>{' '}
      {since !== null && (
        <time dateTime={new Date(since).toISOString()}>
          Since {exactText(since)} ({agoText(since, now)}).{' '}
        </time>
      )}
      {next} {code && <code>{code}</code>}
    </p>
    {link && <Link to={root + link.to}>{link.label}</Link>}
  </div>
);

const AlertLine: React.FC<{ alert: Alert; now: number; isStale: boolean }> = ({ alert, now, isStale }) => {
  const { severity, next, nextAt, ...rest } = alert;
  const isAhead = nextAt !== null && nextAt > now;
  return (
    <Line
      {...rest}
      tone={severity}
      now={now}
      isStale={isStale}
      next={isAhead ? `${next} Next attempt ${inText(nextAt, now).replace(/\.$/, '')}.` : next}
    />
  );
};

const causes = {
  backend: [
    'The backend does not answer.',
    'It is asked again every few seconds. If it stays silent, look at the program or container “backend” and its log.',
  ],
  database: [
    'The database does not answer.',
    'Accepted messages are kept. The backend tries again by itself; check the database and its disk.',
  ],
  refused: ['The backend cannot say how things are.', 'It is asked again every few seconds.'],
} as const;

/** The server's own silence, which it cannot report itself. */
function silenceOf({ silence, receivedAt }: KnownStatus, now: number): Omit<LineProps, 'tone' | 'isStale'> | null {
  if (!silence) return null;
  const [what, next] = causes[silence.cause];
  const age = receivedAt === null ? '' : `What you see is from ${agoText(receivedAt, now)}. `;
  return { what: silence.cause === 'refused' ? `${what} ${silence.text}` : what, since: silence.since, now, next: age + next };
}
