import React, { useEffect, useRef, useState } from 'react';
import type { GlanceKind, GlanceRow } from '../../src/admin/verbs.js';
import type { SessionView } from '../../src/admin/views/session.js';
import { messageOf, post } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';

const kinds: [GlanceKind, string][] = [
  ['chats', 'Chats'],
  ['groups', 'Groups'],
  ['contacts', 'Contacts'],
];

type State = { kind: GlanceKind; rows: GlanceRow[] | null; problem: string | null } | null;

/** The first chats, groups or contacts. WhatsApp Web is asked on a click only: the page itself never waits for a worker. */
const Glance: React.FC<{ session: SessionView }> = ({ session }) => {
  const [state, setState] = useState<State>(null);
  const latest = useRef(0);
  // What another phone had is not shown for this one.
  useEffect(() => setState(null), [session.id, session.phoneNumber]);
  if (session.status !== 'connected')
    return <p className="cq-soft">They are read from WhatsApp Web once the phone is connected.</p>;
  const ask = (kind: GlanceKind): void => {
    const number = (latest.current += 1);
    const show = (next: State): void => void (number === latest.current && setState(next));
    setState({ kind, rows: null, problem: null });
    post<GlanceRow[]>(`/live/sessions/${session.id}/glance`, { at: kind }).then(
      (rows) => show({ kind, rows, problem: null }),
      (error: unknown) => show({ kind, rows: null, problem: messageOf(error) }),
    );
  };
  return (
    <div data-testid="glance">
      <div className="cq-switch" role="group" aria-label="Ask WhatsApp Web for">
        {kinds.map(([kind, label]) => (
          <button key={kind} type="button" aria-pressed={state?.kind === kind} onClick={() => ask(kind)}>
            {label}
          </button>
        ))}
      </div>
      <div aria-live="polite">
        {state ? <Found {...state} /> : <p className="cq-soft">Choose what to read from WhatsApp Web.</p>}
      </div>
    </div>
  );
};
export default Glance;

const Found: React.FC<NonNullable<State>> = ({ kind, rows, problem }) => {
  if (problem)
    return (
      <p className="cq-note cq-bad" role="alert">
        {problem}
      </p>
    );
  if (!rows) return <p className="cq-soft">Asking WhatsApp Web …</p>;
  if (rows.length === 0) return <p className="cq-soft">WhatsApp Web has no {kind} of this account.</p>;
  return (
    <>
      <ul className="cq-glance">
        {rows.map((row) => (
          <li key={row.id}>
            <b>{row.title}</b>
            <span className="cq-glance-side">
              {row.unread > 0 && <Badge tone="info">{`${row.unread} unread`}</Badge>}
              {row.at !== null && <Ago at={row.at} />}
            </span>
            {row.detail && <small className="cq-one-line">{row.detail}</small>}
          </li>
        ))}
      </ul>
      {rows.length === 20 && <p className="cq-soft">The first 20. The API lists all of them.</p>}
    </>
  );
};
