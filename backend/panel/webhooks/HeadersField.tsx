import React, { useId } from 'react';
import { useFieldProblem } from '../parts/form-problems.js';
import type { WebhookValues } from './values.js';

interface HeadersFieldProps {
  value: WebhookValues['headers'];
  stored: readonly string[];
  onChange: (value: WebhookValues['headers']) => void;
}

/** The headers that are sent with each delivery, such as a token of the receiver. */
const HeadersField: React.FC<HeadersFieldProps> = ({ value, stored, onChange }) => {
  const problem = useFieldProblem('headers');
  const id = useId();
  const set = (index: number, changes: Partial<{ name: string; value: string }>): void =>
    onChange((value ?? []).map((header, at) => (at === index ? { ...header, ...changes } : header)));
  return (
    <fieldset className="cq-picker" data-invalid={problem ? true : undefined} aria-describedby={problem ? id : undefined}>
      <legend>Headers, optional</legend>
      {value === null ? (
        <>
          <p className="cq-soft">
            Sent along: <code>{stored.join(', ')}</code>. Their values are not shown.
          </p>
          <button type="button" className="cq-button" onClick={() => onChange([{ name: '', value: '' }])}>
            Replace headers
          </button>
        </>
      ) : (
        <>
          {value.map((header, index) => (
            <div className="cq-line cq-header" key={index}>
              <input
                aria-label={`Name of header ${index + 1}`}
                placeholder="X-Shop"
                maxLength={100}
                autoComplete="off"
                value={header.name}
                onChange={(event) => set(index, { name: event.target.value })}
              />
              <input
                aria-label={`Value of header ${index + 1}`}
                placeholder="Value"
                maxLength={2000}
                autoComplete="off"
                value={header.value}
                onChange={(event) => set(index, { value: event.target.value })}
              />
              <button
                type="button"
                className="cq-button"
                aria-label={`Remove header ${index + 1}`}
                onClick={() => onChange(value.filter((_, at) => at !== index))}
              >
                Remove
              </button>
            </div>
          ))}
          <div className="cq-line">
            <button type="button" className="cq-button" onClick={() => onChange([...value, { name: '', value: '' }])}>
              Add a header
            </button>
            {stored.length > 0 && (
              <button type="button" className="cq-button" onClick={() => onChange(null)}>
                Keep the stored headers
              </button>
            )}
          </div>
          {stored.length > 0 && <small>These replace {stored.join(', ')}.</small>}
        </>
      )}
      {problem && (
        <small className="cq-field-problem" id={id}>
          {problem}
        </small>
      )}
    </fieldset>
  );
};
export default HeadersField;
