import React from 'react';
import { usePoll } from '../api.js';
import Field from '../parts/Field.js';
import type { WebhookValues } from './values.js';

type FilterValues = Pick<WebhookValues, 'chats' | 'directions' | 'types'>;

interface FilterFieldsProps {
  fields: FilterValues;
  set: (changes: Partial<FilterValues>) => void;
}

const directions: [string, string][] = [
  ['inbound', 'Received'],
  ['outbound', 'Sent'],
];

interface ChoicesProps {
  /** The name and the label of each. */
  of: readonly (readonly [name: string, label: string])[];
  chosen: readonly string[];
  onChange: (chosen: string[]) => void;
}

const Choices: React.FC<ChoicesProps> = ({ of, chosen, onChange }) => (
  <>
    {of.map(([name, label]) => (
      <label key={name}>
        <input
          type="checkbox"
          data-choice={name}
          checked={chosen.includes(name)}
          onChange={() => onChange(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name])}
        />{' '}
        {label}
      </label>
    ))}
  </>
);

/** Which of the chosen events are delivered: those that meet all parts of the filter. */
const FilterFields: React.FC<FilterFieldsProps> = ({ fields, set }) => {
  const { value: types } = usePoll<string[]>('/live/message-types', 300_000);
  return (
    <fieldset className="cq-picker">
      <legend>Filter, optional</legend>
      <Field
        label="Only these chats"
        name="filter.chats"
        hint="One number or id of WhatsApp in each line. An event that concerns no chat is not delivered then."
      >
        <textarea
          rows={2}
          value={fields.chats}
          onChange={(event) => set({ chats: event.target.value })}
          placeholder="+55 11 99999-0001"
        />
      </Field>
      <fieldset className="cq-days">
        <legend>Only these directions</legend>
        <Choices of={directions} chosen={fields.directions} onChange={(chosen) => set({ directions: chosen })} />
      </fieldset>
      <details>
        <summary>
          Only these types of messages <small>{fields.types.length === 0 ? 'all' : `${fields.types.length} chosen`}</small>
        </summary>
        <fieldset className="cq-days">
          <legend>Types</legend>
          <Choices
            of={(types ?? []).map((type) => [type, type])}
            chosen={fields.types}
            onChange={(chosen) => set({ types: chosen })}
          />
        </fieldset>
      </details>
    </fieldset>
  );
};
export default FilterFields;
