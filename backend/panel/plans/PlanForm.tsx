import React from 'react';
import type { PlanView } from '../../src/admin/views/plan.js';
import { posting, useForm } from '../hooks.js';
import Form from '../parts/Form.js';

export type PlanFields = Pick<
  PlanView,
  'name' | 'dailyMessages' | 'monthlyMessages' | 'maxSessions' | 'apiLimit' | 'pricePerMessage' | 'currency'
>;
type Figure = 'dailyMessages' | 'monthlyMessages' | 'maxSessions' | 'apiLimit';

const figures: [Figure, string][] = [
  ['dailyMessages', 'Messages a day'],
  ['monthlyMessages', 'Messages a month'],
  ['maxSessions', 'Sessions'],
  ['apiLimit', 'Requests an hour, for each session'],
];

/** The form that creates or changes a plan. */
const PlanForm: React.FC<{ path: string; from: PlanFields; label: string; onDone: (answer: unknown) => void }> = (props) => {
  const form = useForm(props.from, posting(props.path, props.onDone));
  const { fields, set } = form;
  return (
    <Form form={form} label={props.label}>
      <label>
        Name
        <input value={fields.name} onChange={(event) => set({ name: event.target.value })} required maxLength={64} />
      </label>
      {figures.map(([name, label]) => (
        <label key={name}>
          {label} <small className="cq-soft">0: no limit</small>
          <input
            type="number"
            min={0}
            step={1}
            value={fields[name]}
            onChange={(event) => set({ [name]: Number(event.target.value) })}
            required
          />
        </label>
      ))}
      <label>
        Price of a message
        <input
          value={fields.pricePerMessage}
          onChange={(event) => set({ pricePerMessage: event.target.value })}
          inputMode="decimal"
          pattern="\d{1,12}(\.\d{1,6})?"
          required
        />
      </label>
      <label>
        Currency <small className="cq-soft">three letters, such as USD</small>
        <input
          value={fields.currency}
          onChange={(event) => set({ currency: event.target.value.toUpperCase() })}
          pattern="[A-Z]{3}"
          maxLength={3}
          required
        />
      </label>
    </Form>
  );
};
export default PlanForm;
