import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import NewKeyForm from './NewKeyForm.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';

const back = { to: `${root}/resources/keys`, label: 'API keys' };
const hint = 'Shown this once; only its hash is stored. Programs send it as: Authorization: ApiKey <key>.';

/** Creates a key, which is shown once. */
const NewKey: React.FC = () => {
  const [created, setCreated] = useState<{ name: string; secret: string } | null>(null);
  return (
    <Page isNarrow>
      <PageHead title="New key" back={back} />
      {created ? (
        <>
          <OneTimeSecret label={`The key “${created.name}”`} secret={created.secret} hint={hint} />
          <Link className="cq-button" to={back.to}>
            All keys
          </Link>
        </>
      ) : (
        <NewKeyForm onCreated={setCreated} />
      )}
    </Page>
  );
};
export default NewKey;
