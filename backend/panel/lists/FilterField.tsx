import React, { useEffect, useState } from 'react';
import type { BasePropertyJSON } from 'adminjs';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { usePoll } from '../api.js';
import { kindOf, valueWord } from './filters.js';

interface FilterFieldProps {
  table: string;
  property: BasePropertyJSON;
  label: string;
  /** The present value of a filter, by its name. */
  valueOf: (name: string) => string;
  onChange: (name: string, value: string) => void;
}

/** One filter, drawn by its kind. A choice applies at once, a text with Enter or when it is left. */
const FilterField: React.FC<FilterFieldProps> = ({ table, property, label, valueOf, onChange }) => {
  const { name } = property;
  const kind = kindOf(property);
  const choose = (options: [string, string][]) => (
    <label>
      {label}
      <select value={valueOf(name)} onChange={(event) => onChange(name, event.target.value)}>
        <option value="">any</option>
        {options.map(([value, word]) => (
          <option key={value} value={value}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
  if (kind === 'account' || kind === 'session') return <OwnerField {...{ label, name, kind, valueOf, onChange }} />;
  if (kind === 'flag')
    return choose([
      ['true', 'yes'],
      ['false', 'no'],
    ]);
  if (property.availableValues)
    return choose(property.availableValues.map(({ value }) => [String(value), valueWord(table, name, String(value))]));
  if (kind === 'range')
    return (
      <>
        <TimeField
          label={`${label}, from`}
          value={valueOf(`${name}~~from`)}
          onChange={(value) => onChange(`${name}~~from`, value)}
        />
        <TimeField
          label={`${label}, until`}
          value={valueOf(`${name}~~to`)}
          onChange={(value) => onChange(`${name}~~to`, value)}
        />
      </>
    );
  return <TextField label={label} value={valueOf(name)} onChange={(value) => onChange(name, value)} />;
};
export default FilterField;

interface ValueProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
}

const TextField: React.FC<ValueProps> = ({ label, value, onChange }) => {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const apply = (): void => void (text.trim() !== value && onChange(text.trim()));
  return (
    <label>
      {label}
      <input
        value={text}
        onChange={(event) => setText(event.target.value)}
        onBlur={apply}
        onKeyDown={(event) => void (event.key === 'Enter' && (event.preventDefault(), apply()))}
      />
    </label>
  );
};

/** A time in the zone of the browser, as the address holds it: in UTC. */
const TimeField: React.FC<ValueProps> = ({ label, value, onChange }) => {
  const at = Date.parse(value);
  const local = Number.isNaN(at) ? '' : new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  return (
    <label>
      {label}
      <input
        type="datetime-local"
        value={local}
        onChange={(event) => {
          const time = Date.parse(event.target.value);
          onChange(Number.isNaN(time) ? '' : new Date(time).toISOString());
        }}
      />
    </label>
  );
};

type OwnerProps = Omit<FilterFieldProps, 'table' | 'property'> & { name: string; kind: 'account' | 'session' };

const OwnerField: React.FC<OwnerProps> = ({ label, name, kind, valueOf, onChange }) => {
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const options = (kind === 'account' ? choices?.accounts : choices?.sessions) ?? [];
  const value = valueOf(name);
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => onChange(name, event.target.value)}>
        <option value="">any</option>
        {value && !options.some(({ id }) => id === value) && <option value={value}>{value}</option>}
        {options.map(({ id, name: word }) => (
          <option key={id} value={id}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
};
