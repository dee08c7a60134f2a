import React, { useCallback, useEffect, useMemo, useRef } from 'react';
import type { Form as FormState } from '../hooks.js';
import { FormContext, isAbout } from './form-problems.js';

interface FormProps {
  form: Pick<FormState<unknown>, 'problem' | 'problems' | 'isBusy' | 'onSubmit'>;
  /** The text of the button. */
  label: string;
  /** The text of the button until the server answers. */
  busyLabel?: string;
  /** `panel`: in a box. `line`: the fields and the button beside each other. */
  look?: 'plain' | 'panel' | 'line';
  isDangerous?: boolean;
  testId?: string;
  /** Shown beside the button. */
  hint?: React.ReactNode;
  children: React.ReactNode;
}

const classes = { plain: 'cq-form', panel: 'cq-panel cq-form', line: 'cq-line cq-begin' };

/**
 * A form with one button. Each error of the server is shown at the field that it is about (Field), and the first such field gets the focus.
 * An error about no field, and how many fields are wrong, is shown at the button. Screen readers announce that.
 */
const Form: React.FC<FormProps> = (props) => {
  const { form, label, busyLabel = `${label} …`, look = 'plain', isDangerous = false, testId, hint, children } = props;
  const element = useRef<HTMLFormElement>(null);
  const claims = useRef(new Set<readonly string[]>());
  const claim = useCallback((paths: readonly string[]) => {
    claims.current.add(paths);
    return () => void claims.current.delete(paths);
  }, []);
  const context = useMemo(() => ({ problems: form.problems, claim }), [form.problems, claim]);
  useEffect(() => {
    if (form.problem !== null) focusFirstProblem(element.current);
  }, [form.problem, form.problems]);
  const summary = summaryOf(form, [...claims.current].flat());
  const tone = isDangerous ? 'cq-danger' : look === 'line' ? '' : 'cq-main';
  const button = (
    <button type="submit" className={`cq-button ${tone}`.trim()} disabled={form.isBusy}>
      {form.isBusy ? busyLabel : label}
    </button>
  );
  return (
    <form ref={element} className={classes[look]} onSubmit={form.onSubmit} data-testid={testId}>
      <FormContext.Provider value={context}>{children}</FormContext.Provider>
      {look === 'line' && button}
      {look === 'line' && hint}
      {summary && (
        <p className="cq-note cq-bad" role="alert" tabIndex={-1}>
          {summary}
        </p>
      )}
      {look !== 'line' && (
        <div className="cq-line">
          {button}
          {hint}
        </div>
      )}
    </form>
  );
};
export default Form;

/** Returns what is shown at the button: how many fields are marked, and every sentence that no field shows. */
function summaryOf({ problem, problems }: Pick<FormState<unknown>, 'problem' | 'problems'>, fields: string[]): string | null {
  const isMarked = (path: string): boolean => fields.some((field) => field !== '' && isAbout(path, field));
  const entries = Object.entries(problems);
  const others = entries.filter(([path]) => !isMarked(path)).map(([, sentence]) => sentence);
  if (entries.length === others.length) return problem;
  const marked = new Set(entries.flatMap(([path]) => fields.filter((field) => field !== '' && isAbout(path, field)))).size;
  return [marked === 1 ? 'Correct the marked field.' : `Correct the ${marked} marked fields.`, ...others].join(' ');
}

/** Focuses the first field with an error; without one the sentence at the button, if the focus was lost with the pressed button. */
function focusFirstProblem(form: HTMLFormElement | null): void {
  const controls = 'input, select, textarea';
  const marked = form?.querySelector<HTMLElement>('[aria-invalid=true], [data-invalid]');
  const field = marked?.matches(controls) ? marked : marked?.querySelector<HTMLElement>(controls);
  if (field) field.focus();
  else if (document.activeElement === document.body) form?.querySelector<HTMLElement>('[role=alert]')?.focus();
}
