import React from 'react';
import type { Form as FormState } from '../hooks.js';

interface FormProps {
  form: Pick<FormState<unknown>, 'problem' | 'isBusy' | 'onSubmit'>;
  /** The text of the button. */
  label: string;
  /** The text of the button until the server answers. */
  busyLabel?: string;
  /** Draws the form as a panel. */
  inPanel?: boolean;
  testId?: string;
  /** Shown beside the button. */
  hint?: React.ReactNode;
  children: React.ReactNode;
}

/** A form with one button. An error appears above the button, and screen readers announce it. */
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
