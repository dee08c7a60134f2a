import React from 'react';
import type { ActionProps } from 'adminjs';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { exactText } from '../words.js';

const back = { to: `${root}/resources/audit`, label: 'Audit log' };

/** One entry of the audit log. Entries cannot be changed. */
const AuditPage: React.FC<ActionProps> = ({ record }) => {
  const entry = (record?.params ?? {}) as Record<string, string | null>;
  const at = Date.parse(entry['at'] ?? '');
  return (
    <Page>
      <PageHead title={entry['action'] ?? 'Entry'} back={back} below={<Ago at={at} />} />
      <Panel title="Details">
        <Facts
          of={[
            ['When', Number.isNaN(at) ? null : exactText(at)],
            ['Actor', entry['actorName']],
            ['Actor type', entry['actorType']],
            ['Account', entry['accountName'] ?? entry['accountId']],
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
        <Changes json={entry['changes'] ?? '{}'} />
      </Panel>
    </Page>
  );
};
export default AuditPage;

const valueText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** What was changed, one line for each field. */
const Changes: React.FC<{ json: string }> = ({ json }) => {
  const changes = parsed(json);
  if (changes === null) return <pre className="cq-json">{json}</pre>;
  const fields = Object.entries(changes).filter(([, value]) => value !== undefined && value !== null);
  if (fields.length === 0) return <p className="cq-soft">The action has no further details.</p>;
  return <Facts of={fields.map(([name, value]) => [name, <code>{valueText(value)}</code>])} />;
};

function parsed(json: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(json) as unknown;
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
