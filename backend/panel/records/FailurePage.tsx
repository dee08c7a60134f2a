import React from 'react';
import type { ActionProps } from 'adminjs';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { exactText } from '../words.js';

const back = { to: `${root}/resources/failures`, label: 'Failures' };
const timeText = (time: string | null | undefined): string | null => {
  const at = Date.parse(time ?? '');
  return Number.isNaN(at) ? null : exactText(at);
};

/** One item that failed and was isolated. It cannot be changed and is deleted after 30 days. */
const FailurePage: React.FC<ActionProps> = ({ record }) => {
  const failure = (record?.params ?? {}) as Record<string, string | null>;
  return (
    <Page>
      <PageHead title={failure['code'] ?? 'Failure'} back={back} below={<Ago at={Date.parse(failure['lastAt'] ?? '')} />} />
      <Panel title="Details">
        <Facts
          of={[
            ['Kind', failure['kind']],
            ['Subject', failure['subject'] && <code>{failure['subject']}</code>],
            ['Detail', failure['detail']],
            ['Count', String(failure['count'] ?? '')],
            ['First', timeText(failure['firstAt'])],
            ['Last', timeText(failure['lastAt'])],
            ['Account', failure['accountName'] ?? failure['accountId']],
            ['Session', failure['sessionName'] ?? failure['sessionId']],
          ]}
        />
        <p>The item was isolated, and later items were processed. Search the log for the subject above to see the whole error.</p>
      </Panel>
    </Page>
  );
};
export default FailurePage;
