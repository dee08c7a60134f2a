import React, { useId } from 'react';
import { useFieldProblem } from './form-problems.js';

interface FieldProps {
  label: React.ReactNode;
  /** The path of the field in the body that the form posts, or several. The field shows the errors with these paths. */
  name?: string | readonly string[];
  /** A sentence below the field. */
  hint?: React.ReactNode;
  /** The input, select or textarea. */
  children: React.ReactElement<React.InputHTMLAttributes<HTMLElement>>;
}

/** A field with its name, its hint, and the error that concerns it. Screen readers read all three. */
const Field: React.FC<FieldProps> = ({ label, name, hint, children }) => {
  const id = useId();
  const problem = useFieldProblem(name);
  const described = [problem && `${id}-problem`, hint && `${id}-hint`].filter(Boolean).join(' ');
  return (
    <label>
      <span id={`${id}-label`}>{label}</span>
      {React.cloneElement(children, {
        'aria-labelledby': children.props['aria-label'] ? undefined : `${id}-label`,
        'aria-invalid': problem ? true : undefined,
        'aria-describedby': described || undefined,
      })}
      {problem && (
        <small className="cq-field-problem" id={`${id}-problem`}>
          {problem}
        </small>
      )}
      {hint && <small id={`${id}-hint`}>{hint}</small>}
    </label>
  );
};
export default Field;
