import React from 'react';
import Field from '../parts/Field.js';
import type { WebhookValues } from './values.js';

type RetryValues = Pick<WebhookValues, 'delays' | 'maxRetries' | 'timeout'>;

interface RetryFieldsProps {
  fields: RetryValues;
  set: (changes: Partial<RetryValues>) => void;
}

/** When a delivery that failed is sent again, and how long the receiver may take. */
const RetryFields: React.FC<RetryFieldsProps> = ({ fields, set }) => (
  <fieldset className="cq-picker" data-testid="retry">
    <legend>Retries, optional</legend>
    <Field
      label="Seconds before each retry"
      name="retry.delaysMs"
      hint="Such as 5, 30, 300: three retries. Empty: the schedule of the installation."
    >
      <input
        autoComplete="off"
        value={fields.delays}
        onChange={(event) => set({ delays: event.target.value })}
        placeholder="5, 30, 300"
      />
    </Field>
    <Field label="Most retries" name="retry.maxRetries" hint="Empty: as the schedule says. 0: none.">
      <input
        inputMode="numeric"
        autoComplete="off"
        value={fields.maxRetries}
        onChange={(event) => set({ maxRetries: event.target.value })}
      />
    </Field>
    <Field
      label="Seconds that the receiver may take"
      name="retry.timeoutMs"
      hint="At most 30. Empty: the value of the installation."
    >
      <input
        inputMode="decimal"
        autoComplete="off"
        value={fields.timeout}
        onChange={(event) => set({ timeout: event.target.value })}
      />
    </Field>
  </fieldset>
);
export default RetryFields;
