import React from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import type { AccountView } from '../../src/admin/views/account.js';
import { root, viewerOf } from '../api.js';
import AccountActions from './AccountActions.js';
import AccountFacts from './AccountFacts.js';
import AccountLimits from './AccountLimits.js';
import AccountLists from './AccountLists.js';
import AccountTimezone from './AccountTimezone.js';
import Badge from '../parts/Badge.js';
import MissingRecord from '../frame/MissingRecord.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import KeywordsForm from '../opt-outs/KeywordsForm.js';
import Panel from '../frame/Panel.js';
import NoticeLine from '../parts/NoticeLine.js';

const back = { to: `${root}/resources/accounts`, label: 'Accounts' };

/** One account with its sessions and keys. Staff can read it; an admin can change it. */
const AccountPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  const { value: account, error, notice, notify } = useRecord<AccountView>(`/live/accounts/${record?.id ?? ''}`, 10_000);
  if (!account) return <MissingRecord title="Account" back={back} below={error} />;
  return (
    <Page>
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
      <NoticeLine notice={notice} />
      <div className="cq-grid">
        <Panel title="Details" wide>
          <AccountFacts account={account} />
        </Panel>
        <Panel title="Change">
          <div className="cq-stack">
            {(me?.role === 'admin' || me?.id === account.id) && (
              <AccountTimezone key={account.id} account={account} onNotice={notify} />
            )}
            {me?.role === 'admin' ? (
              <AccountActions account={account} isOwn={me.id === account.id} onNotice={notify} />
            ) : (
              <p className="cq-soft">
                {me?.id === account.id ? 'Only an admin can change more of it.' : 'Only an admin can change accounts.'}
              </p>
            )}
          </div>
        </Panel>
        <Panel title="Limits and usage" wide>
          <AccountLimits account={account} mayChange={me?.role === 'admin'} onNotice={notify} />
        </Panel>
        <Panel title="Opt-out keywords" wide>
          <KeywordsForm accountId={account.id} />
        </Panel>
        <AccountLists account={account} />
      </div>
    </Page>
  );
};
export default AccountPage;
