import React from 'react';
import { Link } from 'react-router-dom';
import type { AccountView } from '../../src/admin/views/account.js';
import { root } from '../api.js';
import Badge from '../parts/Badge.js';
import Panel from '../frame/Panel.js';
import { sessionWord } from '../words.js';

/** The sessions and keys of an account. */
const AccountLists: React.FC<{ account: AccountView }> = ({ account }) => (
  <>
    <Panel title="Sessions">
      {account.sessions.length === 0 && <p className="cq-soft">None yet.</p>}
      <ul className="cq-list">
        {account.sessions.map((session) => (
          <li key={session.id}>
            <Link to={`${root}/resources/sessions/records/${session.id}/show`}>{session.name}</Link>
            <Badge tone={sessionWord(session.status)[1]}>{sessionWord(session.status)[0]}</Badge>
          </li>
        ))}
      </ul>
    </Panel>
    <Panel title="API keys">
      {account.keys.length === 0 && <p className="cq-soft">None yet.</p>}
      <ul className="cq-list">
        {account.keys.map((key) => (
          <li key={key.id}>
            <Link to={`${root}/resources/keys/records/${key.id}/show`}>{key.name}</Link>
            <code>
              {key.prefix}…{key.lastFour}
            </code>
            {!key.isActive && <small>revoked</small>}
          </li>
        ))}
      </ul>
    </Panel>
  </>
);
export default AccountLists;
