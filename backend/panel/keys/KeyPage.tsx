import React, { useState } from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import type { KeyView } from '../../src/admin/views/key.js';
import { root, viewerOf } from '../api.js';
import Badge from '../parts/Badge.js';
import KeyActions from './KeyActions.js';
import KeyFacts from './KeyFacts.js';
import KeyRequests from './KeyRequests.js';
import KeyLimit from './KeyLimit.js';
import OneTimeSecret from '../parts/OneTimeSecret.js';
import MissingRecord from '../frame/MissingRecord.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import Panel from '../frame/Panel.js';
import NoticeLine from '../parts/NoticeLine.js';

const back = { to: `${root}/resources/keys`, label: 'API keys' };

/** One key: its permissions, its usage, its limit and its expiry. The key itself is not stored. */
const KeyPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  const { value: key, error, notice, notify } = useRecord<KeyView>(`/live/keys/${record?.id ?? ''}`, 10_000);
  const [secret, setSecret] = useState<string | null>(null);
  if (!key) return <MissingRecord title="API key" back={back} below={error} />;
  return (
    <Page>
      <PageHead
        title={key.name}
        back={back}
        below={
          <>
            <Badge tone={key.isActive ? 'good' : 'bad'}>
              {key.isClaimable ? 'To be collected' : key.isActive ? 'Active' : 'Switched off'}
            </Badge>
            <code>
              {key.prefix}…{key.lastFour}
            </code>
          </>
        }
      >
        {me?.role === 'admin' && (
          <KeyActions
            accessKey={key}
            onNotice={notify}
            onSecret={(newSecret) => {
              setSecret(newSecret);
              notify(null);
            }}
          />
        )}
      </PageHead>
      <NoticeLine notice={notice} />
      {secret && <OneTimeSecret label="The new key" secret={secret} hint="Shown this once. Only its hash is stored." />}
      <div className="cq-columns">
        <div>
          <Panel title="Details">
            <KeyFacts accessKey={key} />
          </Panel>
          <Panel title="Last requests">
            <KeyRequests of={key.requests} />
          </Panel>
        </div>
        {me?.role === 'admin' && (
          <Panel title="Limit">
            <KeyLimit accessKey={key} onNotice={notify} />
          </Panel>
        )}
      </div>
    </Page>
  );
};
export default KeyPage;
