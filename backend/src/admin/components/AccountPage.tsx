import React, { useState } from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import type { AccountView } from '../views.js';
import { root, usePoll, type Viewer } from './api.js';
import AccountActions from './AccountActions.js';
import Ago from './Ago.js';
import Badge from './Badge.js';
import Facts from './Facts.js';
import PageHead from './PageHead.js';
import Panel from './Panel.js';
import Said, { type Saying } from './Said.js';
import { sessionWord } from './words.js';

const back = { to: `${root}/resources/accounts`, label: 'Accounts' };

/** One account with its sessions and keys. Staff reads it, an admin changes it. */
const AccountPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = admin as unknown as Viewer | null;
  const { value: account, error, reload } = usePoll<AccountView>(`/live/accounts/${record?.id ?? ''}`, 10_000);
  const [said, setSaid] = useState<Saying | null>(null);
  if (!account)
    return (
      <div className="cq-page">
        <PageHead title="Account" back={back} below={error} />
      </div>
    );
  const told = (what: Saying | null): void => {
    setSaid(what);
    reload();
  };
  return (
    <div className="cq-page">
      <PageHead
        title={account.username}
        back={back}
        below={
          <>
            <Badge tone={account.isActive ? 'good' : 'bad'}>{account.isActive ? 'Active' : 'Switched off'}</Badge>
            <span>{account.role}</span>
          </>
        }
      />
      <Said what={said} />
      <div className="cq-grid">
        <Panel title="Details" wide>
          <Facts
            of={[
              ['E-mail', account.email],
              ['Last login', <Ago at={account.lastLoginAt} none="never" />],
              ['Password', account.mustChangePassword ? 'one-time, to be changed at the next login' : 'their own'],
              ['Time zone', account.timezone],
              ['Sessions at most', account.maxSessions],
              ['Created', <Ago at={account.createdAt} />],
              ['Id', <code>{account.id}</code>],
            ]}
          />
        </Panel>
        <Panel title="Change">
          {me?.role === 'admin' ? (
            <AccountActions account={account} mine={me.id === account.id} onSaid={told} />
          ) : (
            <p className="cq-soft">Only an admin changes accounts.</p>
          )}
        </Panel>
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
      </div>
    </div>
  );
};
export default AccountPage;
