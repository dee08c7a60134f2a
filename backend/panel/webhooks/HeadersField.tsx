import React, { useId } from 'react';
import { useFieldProblem } from '../parts/form-problems.js';
import PairRows from './PairRows.js';
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
          <PairRows
            item="header"
            words={{ name: 'Name', value: 'Value' }}
            placeholders={{ name: 'X-Shop', value: 'Value' }}
            maxLength={{ name: 100, value: 2000 }}
            rows={value}
            onChange={onChange}
          >
            {stored.length > 0 && (
              <button type="button" className="cq-button" onClick={() => onChange(null)}>
                Keep the stored headers
              </button>
            )}
          </PairRows>
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
