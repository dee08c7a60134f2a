import React from 'react';
import type { ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { actorText } from './actor.js';
import { changesIn } from './changes.js';
import { exactText } from '../words.js';

const back = { to: `${root}/resources/audit`, label: 'Audit log' };

/** One entry of the audit log. Entries cannot be changed. */
const AuditPage: React.FC<ActionProps> = ({ record }) => {
  const entry = (record?.params ?? {}) as Record<string, string | null>;
  const at = Date.parse(entry['at'] ?? '');
  return (
    <Page>
      <PageHead title={entry['action'] ?? 'Entry'} back={back} below={<Ago at={at} />} />
      <div className="cq-rows">
        <Panel title="Details">
          <Facts
            of={[
              ['When', Number.isNaN(at) ? null : exactText(at)],
              ['Actor', actorText(entry)],
              ['Actor type', entry['actorType']],
              [
                'Account',
                entry['accountId'] && (
                  <Link to={`${root}/resources/accounts/records/${entry['accountId']}/show`}>
                    {entry['accountName'] ?? entry['accountId']}
                  </Link>
                ),
              ],
              [
                'Object',
                entry['objectTo'] ? (
                  <Link to={root + entry['objectTo']}>{entry['objectName'] ?? entry['objectId']}</Link>
                ) : (
                  (entry['objectName'] ?? entry['objectId'])
                ),
              ],
              ['Kind of object', entry['objectType']?.replaceAll('_', ' ')],
              ['Object id', entry['objectId'] && <code>{entry['objectId']}</code>],
              ['IP address', entry['ip']],
              ['Request', entry['requestId'] && <code>{entry['requestId']}</code>],
            ]}
          />
        </Panel>
        <Panel title="Changes">
          <Changes entry={entry} />
        </Panel>
      </div>
    </Page>
  );
};
export default AuditPage;

/** What was changed, one line for each field. */
const Changes: React.FC<{ entry: Record<string, unknown> }> = ({ entry }) => {
  const changes = changesIn(entry['changes'], entry['previous']);
  if (changes === null) return <pre className="cq-json">{String(entry['changes'])}</pre>;
  if (changes.length === 0) return <p className="cq-soft">The entry names no change of a field.</p>;
  return (
    <Facts
      of={changes.map(({ name, before, after }) => [
        name,
        before === null ? (
          <code>{after}</code>
        ) : (
          <>
            <code>{before}</code> → <code>{after}</code>
          </>
        ),
      ])}
    />
  );
};
