import React, { useState } from 'react';
import { useCurrentAdmin, type ActionProps } from 'adminjs';
import { Link, useNavigate } from 'react-router-dom';
import type { PlanView } from '../../src/admin/views/plan.js';
import { root, usePoll, viewerOf } from '../api.js';
import Ask from '../parts/Ask.js';
import Facts from '../parts/Facts.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import PlanForm, { type PlanFields } from './PlanForm.js';
import Said, { type Saying } from '../parts/Said.js';
import { count } from '../words.js';

const back = { to: `${root}/resources/plans`, label: 'Plans' };
const fieldsOf = ({ id: _id, accounts: _accounts, updatedAt: _updatedAt, ...fields }: PlanView): PlanFields => fields;
const limit = (figure: number): string => (figure === 0 ? 'no limit' : count(figure));

/** One plan: its figures, who is on it, and for an admin the form that changes them for the next request of all of them. */
const PlanPage: React.FC<ActionProps> = ({ record }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  const navigate = useNavigate();
  const { value: plan, error, reload } = usePoll<PlanView>(`/live/plans/${record?.id ?? ''}`, 15_000);
  const [said, setSaid] = useState<Saying | null>(null);
  if (!plan)
    return (
      <div className="cq-page">
        <PageHead title="Plan" back={back} below={error} />
      </div>
    );
  const path = `/live/plans/${plan.id}`;
  const bad = (text: string): void => setSaid({ tone: 'bad', text });
  return (
    <div className="cq-page">
      <PageHead title={plan.name} back={back}>
        {me?.role === 'admin' && plan.accounts.length === 0 && (
          <Ask
            label="Delete"
            path={`${path}/delete`}
            tone="danger"
            sure="Delete this plan?"
            onError={bad}
            onDone={() => navigate(`${root}/resources/plans`)}
          />
        )}
      </PageHead>
      <Said what={said} />
      <div className="cq-columns">
        <Panel title="What accounts on it may use">
          {me?.role === 'admin' ? (
            <PlanForm
              key={plan.updatedAt}
              path={path}
              from={fieldsOf(plan)}
              label="Change the plan"
              onDone={() => {
                setSaid({ tone: 'good', text: 'Changed. It holds for the next request of every account on it.' });
                reload();
              }}
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
        <Panel title="Accounts on it">
          {plan.accounts.length === 0 && <p className="cq-soft">None yet. Put one on it from the account’s page.</p>}
          <ul className="cq-list">
            {plan.accounts.map((account) => (
              <li key={account.id}>
                <Link to={`${root}/resources/accounts/records/${account.id}/show`}>{account.name}</Link>
              </li>
            ))}
          </ul>
        </Panel>
      </div>
    </div>
  );
};
export default PlanPage;
