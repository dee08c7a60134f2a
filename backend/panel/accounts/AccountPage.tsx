import React, { useState } from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import type { AccountView } from '../../src/admin/views/account.js';
import { root, usePoll, viewerOf } from '../api.js';
import AccountActions from './AccountActions.js';
import AccountFacts from './AccountFacts.js';
import AccountLimits from './AccountLimits.js';
import AccountLists from './AccountLists.js';
import Badge from '../parts/Badge.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import Said, { type Saying } from '../parts/Said.js';

const back = { to: `${root}/resources/accounts`, label: 'Accounts' };

/** One account with its sessions and keys. Staff reads it, an admin changes it. */
const AccountPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  const { value: account, error, reload } = usePoll<AccountView>(`/live/accounts/${record?.id ?? ''}`, 10_000);
  const [said, setSaid] = useState<Saying | null>(null);
  if (!account)
    return (
      <div className="cq-page">
        <PageHead title="Account" back={back} below={error} />
      </div>
    );
  const notify = (what: Saying | null): void => {
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
          <AccountFacts account={account} />
        </Panel>
        <Panel title="Change">
          {me?.role === 'admin' ? (
            <AccountActions account={account} mine={me.id === account.id} onSaid={notify} />
          ) : (
            <p className="cq-soft">Only an admin changes accounts.</p>
          )}
        </Panel>
        <Panel title="Limits and usage" wide>
          <AccountLimits account={account} mayChange={me?.role === 'admin'} onSaid={notify} />
        </Panel>
        <AccountLists account={account} />
      </div>
    </div>
  );
};
export default AccountPage;
