import React from 'react';
import type { ChoicesView } from '../../src/admin/views/choices.js';

interface PlanSelectProps extends React.AriaAttributes {
  plans: ChoicesView['plans'];
  /** The id of a plan; empty: none. */
  value: string;
  onChange: (id: string) => void;
}

/** The choice of an account's plan. */
const PlanSelect: React.FC<PlanSelectProps> = ({ plans, value, onChange, ...more }) => (
  <select {...more} value={value} onChange={(event) => onChange(event.target.value)}>
    <option value="">none</option>
    {plans.map((plan) => (
      <option key={plan.id} value={plan.id}>
        {plan.name}
      </option>
    ))}
  </select>
);
export default PlanSelect;
