import React from 'react';
import type { Form as FormState } from '../hooks.js';

interface FormProps {
  form: Pick<FormState<unknown>, 'problem' | 'isBusy' | 'onSubmit'>;
  /** What the button says. */
  label: string;
  /** What the button says while the server has not answered. */
  busyLabel?: string;
  /** Stands in a panel of its own. */
  inPanel?: boolean;
  testId?: string;
  /** Beside the button. */
  hint?: React.ReactNode;
  children: React.ReactNode;
}

/** A form with one button. A refusal appears above it and is announced to screen readers. */
const Form: React.FC<FormProps> = ({ form, label, busyLabel = `${label} …`, inPanel = false, testId, hint, children }) => (
  <form className={inPanel ? 'cq-panel cq-form' : 'cq-form'} onSubmit={form.onSubmit} data-testid={testId}>
    {children}
    {form.problem && (
      <p className="cq-note cq-bad" role="alert">
        {form.problem}
      </p>
    )}
    <div className="cq-line">
      <button type="submit" className="cq-button cq-main" disabled={form.isBusy}>
        {form.isBusy ? busyLabel : label}
      </button>
      {hint}
    </div>
  </form>
);
export default Form;
