import React, { useState } from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import type { KeyView } from '../views.js';
import { root, usePoll, type Viewer } from './api.js';
import Ago from './Ago.js';
import Ask from './Ask.js';
import Badge from './Badge.js';
import Facts from './Facts.js';
import Once from './Once.js';
import PageHead from './PageHead.js';
import Panel from './Panel.js';
import Said, { type Saying } from './Said.js';

const back = { to: `${root}/resources/keys`, label: 'API keys' };

/** One key: what it may do, who uses it, and its end. The key itself is nowhere any more. */
const KeyPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = admin as unknown as Viewer | null;
  const { value: key, error, reload } = usePoll<KeyView>(`/live/keys/${record?.id ?? ''}`, 10_000);
  const [said, setSaid] = useState<Saying | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  if (!key)
    return (
      <div className="cq-page">
        <PageHead title="API key" back={back} below={error} />
      </div>
    );
  const told = (what: Saying | null): void => {
    setSaid(what);
    reload();
  };
  const onError = (text: string): void => told({ tone: 'bad', text });
  return (
    <div className="cq-page">
      <PageHead
        title={key.name}
        back={back}
        below={
          <>
            <Badge tone={key.isActive ? 'good' : 'bad'}>{key.isActive ? 'Active' : 'Revoked'}</Badge>
            <code>
              {key.prefix}…{key.lastFour}
            </code>
          </>
        }
      >
        {me?.role === 'admin' && key.isActive && (
          <>
            <Ask
              label="Make anew"
              path={`/live/keys/${key.id}/regenerate`}
              sure="The present key ends to work at once."
              onError={onError}
              onDone={(answer) => {
                setSecret((answer as { secret: string }).secret);
                told(null);
              }}
            />
            <Ask
              label="Revoke"
              path={`/live/keys/${key.id}/revoke`}
              tone="danger"
              sure="Programs that use it are shut out at once."
              onError={onError}
              onDone={() => told({ tone: 'good', text: 'Revoked.' })}
            />
          </>
        )}
      </PageHead>
      <Said what={said} />
      {secret && <Once label="The new key" secret={secret} hint="Shown this once. Only its hash is stored." />}
      <Panel title="Details">
        <Facts
          of={[
            [
              'Account',
              <Link to={`${root}/resources/accounts/records/${key.account.id}/show`}>{key.account.name ?? key.account.id}</Link>,
            ],
            ['Reaches', key.session ? `the session ${key.session.name ?? key.session.id}` : 'all sessions of the account'],
            ['Permissions', key.permissions.map((name) => <code key={name}>{name === '*' ? 'all' : name} </code>)],
            ['Primary key', key.isPrimary ? 'yes' : null],
            ['Last used', <Ago at={key.lastUsedAt} none="never" />],
            ['Expires', <Ago at={key.expiresAt} none="never" />],
            ['Created', <Ago at={key.createdAt} />],
            ['Id', <code>{key.id}</code>],
          ]}
        />
      </Panel>
    </div>
  );
};
export default KeyPage;
