import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import NewAccountForm, { type CreatedAccount } from './NewAccountForm.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';

const back = { to: `${root}/resources/accounts`, label: 'Accounts' };

/** Creates an account with a one-time password, which is shown once. */
const NewAccount: React.FC = () => {
  const [created, setCreated] = useState<CreatedAccount | null>(null);
  return (
    <Page isNarrow>
      <PageHead title="New account" back={back} />
      {created ? (
        <>
          <OneTimeSecret
            label={`One-time password of ${created.username}`}
            secret={created.secret}
            hint="Shown this once. It must be changed at the first login."
          />
          <Link className="cq-button" to={`${root}/resources/accounts/records/${created.id}/show`}>
            Open the account
          </Link>
        </>
      ) : (
        <NewAccountForm onCreated={setCreated} />
      )}
    </Page>
  );
};
export default NewAccount;
