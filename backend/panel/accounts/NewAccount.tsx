import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import NewAccountForm, { type MadeAccount } from './NewAccountForm.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import PageHead from '../frame/PageHead.js';

const back = { to: `${root}/resources/accounts`, label: 'Accounts' };

/** Makes an account with a one-time password, which is shown once. */
const NewAccount: React.FC = () => {
  const [made, setMade] = useState<MadeAccount | null>(null);
  return (
    <div className="cq-page cq-narrow">
      <PageHead title="New account" back={back} />
      {made ? (
        <>
          <OneTimeSecret
            label={`One-time password of ${made.username}`}
            secret={made.secret}
            hint="Shown this once. It must be changed at the first login."
          />
          <Link className="cq-button" to={`${root}/resources/accounts/records/${made.id}/show`}>
            Open the account
          </Link>
        </>
      ) : (
        <NewAccountForm onMade={setMade} />
      )}
    </div>
  );
};
export default NewAccount;
