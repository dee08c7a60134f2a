import React from 'react';
import type { PlanView } from '../../src/admin/views/plan.js';
import { posting, useForm } from '../hooks.js';
import Field from '../parts/Field.js';
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
      <Field label="Name" name="name">
        <input value={fields.name} onChange={(event) => set({ name: event.target.value })} required maxLength={64} />
      </Field>
      {figures.map(([name, label]) => (
        <Field key={name} label={label} name={name} hint="0: no limit">
          <input
            type="number"
            min={0}
            step={1}
            value={fields[name]}
            onChange={(event) => set({ [name]: Number(event.target.value) })}
            required
          />
        </Field>
      ))}
      <Field label="Price of a message" name="pricePerMessage">
        <input
          value={fields.pricePerMessage}
          onChange={(event) => set({ pricePerMessage: event.target.value })}
          inputMode="decimal"
          pattern="\d{1,12}(\.\d{1,6})?"
          required
        />
      </Field>
      <Field label="Currency" name="currency" hint="Three letters, such as USD">
        <input
          value={fields.currency}
          onChange={(event) => set({ currency: event.target.value.toUpperCase() })}
          pattern="[A-Z]{3}"
          maxLength={3}
          required
        />
      </Field>
    </Form>
  );
};
export default PlanForm;
