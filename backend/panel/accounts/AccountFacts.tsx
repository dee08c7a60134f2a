import React from 'react';
import type { AccountView } from '../../src/admin/views/account.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';

/** The details of an account. */
const AccountFacts: React.FC<{ account: AccountView }> = ({ account }) => (
  <Facts
    of={[
      ['E-mail', account.email],
      ['Last login', <Ago at={account.lastLoginAt} none="never" />],
      ['Password', account.mustChangePassword ? 'one-time, to be changed at the next login' : 'chosen by the person'],
      ['Time zone', account.timezone],
      [
        'Stored of messages',
        account.storage === 'metadata' ? 'who and when, no content' : 'everything, unless a session has its own setting',
      ],
      ['Created', <Ago at={account.createdAt} />],
      ['Id', <code>{account.id}</code>],
    ]}
  />
);
export default AccountFacts;
