import React from 'react';
import type { ActionProps } from 'adminjs';
import { Link, useNavigate } from 'react-router-dom';
import type { OptOutView } from '../../src/admin/views/opt-out.js';
import { root } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import MissingRecord from '../frame/MissingRecord.js';
import NoticeLine from '../parts/NoticeLine.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { useRecord } from '../hooks.js';
import { phoneText } from '../words.js';

const back = { to: `${root}/resources/optouts`, label: 'Opt-outs' };
const words = { api: 'a call of the API', keyword: 'a keyword', panel: 'a person at this panel' };

/** The number of a person, or the id of one whose number is not known. */
const nameOf = (waId: string): string => (waId.endsWith('@c.us') ? phoneText(waId.slice(0, -5)) : waId);

/** One person who opted out. */
const OptOutPage: React.FC<ActionProps> = ({ record }) => {
  const navigate = useNavigate();
  const path = `/live/optouts/${record?.id ?? ''}`;
  const { value: person, error, notice, notify } = useRecord<OptOutView>(path, 30_000);
  if (!person) return <MissingRecord title="Opt-out" back={back} below={error} />;
  return (
    <Page testId="optout" isNarrow>
      <PageHead title={person.waId ?? 'An erased person'} back={back}>
        <ActionButton
          label="Remove"
          path={`${path}/delete`}
          tone="danger"
          question={`Remove the opt-out of ${person.waId === null ? 'an erased person' : nameOf(person.waId)}?`}
          consequence="The person can be written to again. Bulk jobs skip them no longer."
          onError={(text) => notify({ tone: 'bad', text })}
          onDone={() => navigate(`${root}/resources/optouts`)}
        />
      </PageHead>
      <NoticeLine notice={notice} />
      <Panel title="Details">
        <Facts
          of={[
            ['Opted out by', words[person.source]],
            ['Keyword', person.keyword],
            ['Since', <Ago key="since" at={person.changedAt} />],
            [
              'Account',
              <Link key="account" to={`${root}/resources/accounts/records/${person.account.id}/show`}>
                {person.account.name}
              </Link>,
            ],
          ]}
        />
        {person.waId === null && (
          <p className="cq-soft">
            The person’s data was erased on request. The opt-out stays in force, and no longer names the person.
          </p>
        )}
      </Panel>
    </Page>
  );
};
export default OptOutPage;
