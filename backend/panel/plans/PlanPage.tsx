import React from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import { Link, useNavigate } from 'react-router-dom';
import type { PlanView } from '../../src/admin/views/plan.js';
import { root, viewerOf } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import Facts from '../parts/Facts.js';
import MissingRecord from '../frame/MissingRecord.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import { useRecord } from '../hooks.js';
import Panel from '../frame/Panel.js';
import PlanForm, { type PlanFields } from './PlanForm.js';
import NoticeLine from '../parts/NoticeLine.js';
import { count } from '../words.js';

const back = { to: `${root}/resources/plans`, label: 'Plans' };
const fieldsOf = ({ id: _id, accounts: _accounts, updatedAt: _updatedAt, ...fields }: PlanView): PlanFields => fields;
const limit = (figure: number): string => (figure === 0 ? 'no limit' : count(figure));

/** One plan: its limits, the accounts on it, and for an admin the form that changes the limits. */
const PlanPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  const navigate = useNavigate();
  const { value: plan, error, notice, notify } = useRecord<PlanView>(`/live/plans/${record?.id ?? ''}`, 15_000);
  if (!plan) return <MissingRecord title="Plan" back={back} below={error} />;
  const path = `/live/plans/${plan.id}`;
  return (
    <Page>
      <PageHead title={plan.name} back={back}>
        {me?.role === 'admin' && plan.accounts.length === 0 && (
          <ActionButton
            label="Delete"
            path={`${path}/delete`}
            tone="danger"
            question={`Delete the plan ${plan.name}?`}
            consequence="A plan that accounts are on cannot be deleted. This cannot be undone."
            onError={(text) => notify({ tone: 'bad', text })}
            onDone={() => navigate(`${root}/resources/plans`)}
          />
        )}
      </PageHead>
      <NoticeLine notice={notice} />
      <div className="cq-columns">
        <Panel title="Limits of its accounts">
          {me?.role === 'admin' ? (
            <PlanForm
              key={plan.updatedAt}
              path={path}
              from={fieldsOf(plan)}
              label="Save plan"
              onDone={() => notify({ tone: 'good', text: 'Changed. It applies from the next request of every account on it.' })}
            />
          ) : (
            <Facts
              of={[
                ['Messages a day', limit(plan.dailyMessages)],
                ['Messages a month', limit(plan.monthlyMessages)],
                ['Sessions', limit(plan.maxSessions)],
                ['Requests an hour, for each session', limit(plan.apiLimit)],
                ['Price of a message', `${plan.pricePerMessage} ${plan.currency}`],
              ]}
            />
          )}
        </Panel>
        <Panel title="Accounts on this plan">
          {plan.accounts.length === 0 && <p className="cq-soft">None yet. Choose this plan on an account’s page.</p>}
          <ul className="cq-list">
            {plan.accounts.map((account) => (
              <li key={account.id}>
                <Link to={`${root}/resources/accounts/records/${account.id}/show`}>{account.name}</Link>
              </li>
            ))}
          </ul>
        </Panel>
      </div>
    </Page>
  );
};
export default PlanPage;
