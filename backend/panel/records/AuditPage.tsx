import React from 'react';
import type { ActionProps } from 'adminjs';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { exactText } from '../words.js';

const back = { to: `${root}/resources/audit`, label: 'Audit log' };

/** One entry of the audit log. Entries cannot be changed. */
const AuditPage: React.FC<ActionProps> = ({ record }) => {
  const entry = (record?.params ?? {}) as Record<string, string | null>;
  const at = Date.parse(entry['at'] ?? '');
  return (
    <div className="cq-page">
      <PageHead title={entry['action'] ?? 'Entry'} back={back} below={<Ago at={at} />} />
      <Panel title="Details">
        <Facts
          of={[
            ['When', Number.isNaN(at) ? null : exactText(at)],
            ['Actor', entry['actorName']],
            ['Actor type', entry['actorType']],
            ['Account', entry['accountName'] ?? entry['accountId']],
            ['Object', [entry['objectType'], entry['objectId']].filter(Boolean).join(' ')],
            ['IP address', entry['ip']],
            ['Request', entry['requestId'] && <code>{entry['requestId']}</code>],
          ]}
        />
        <pre className="cq-json">{entry['changes']}</pre>
      </Panel>
    </div>
  );
};
export default AuditPage;
