import React from 'react';
import { useNavigate } from 'react-router-dom';
import { root } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import PlanForm from './PlanForm.js';

const empty = {
  name: '',
  dailyMessages: 0,
  monthlyMessages: 0,
  maxSessions: 0,
  apiLimit: 0,
  pricePerMessage: '0.0000',
  currency: 'USD',
};

/** Creates a plan. */
const NewPlan: React.FC = () => {
  const navigate = useNavigate();
  return (
    <Page isNarrow>
      <PageHead title="New plan" back={{ to: `${root}/resources/plans`, label: 'Plans' }} />
      <Panel title="Limits of its accounts">
        <PlanForm
          path="/live/plans"
          from={empty}
          label="Create plan"
          onDone={(created) => navigate(`${root}/resources/plans/records/${(created as { id: string }).id}/show`)}
        />
      </Panel>
    </Page>
  );
};
export default NewPlan;
