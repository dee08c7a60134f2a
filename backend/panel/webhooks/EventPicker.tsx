import React, { useId } from 'react';
import type { EventTypeView } from '../../src/admin/views/event.js';
import { usePoll } from '../api.js';
import { useFieldProblem } from '../parts/form-problems.js';

interface EventPickerProps {
  /** Names of events, families such as `message.*`, or `*`. */
  value: readonly string[];
  onChange: (value: string[]) => void;
}

const familyOf = (type: string): string => type.slice(0, type.indexOf('.'));

/** Chooses events by family or one by one, each with the sentence of the catalogue. */
const EventPicker: React.FC<EventPickerProps> = ({ value, onChange }) => {
  const problem = useFieldProblem('events');
  const id = useId();
  const { value: types } = usePoll<EventTypeView[]>('/live/event-catalogue', 300_000);
  const toggle = (name: string): void => onChange(value.includes(name) ? value.filter((one) => one !== name) : [...value, name]);
  const families = [...new Set((types ?? []).map(({ type }) => familyOf(type)))];
  const isAll = value.includes('*');
  return (
    <fieldset className="cq-picker" data-invalid={problem ? true : undefined} aria-describedby={problem ? id : undefined}>
      <legend>Events</legend>
      <Choice
        label="All events, also those of later versions"
        name="*"
        isOn={isAll}
        onToggle={() => onChange(isAll ? [] : ['*'])}
      />
      {!isAll &&
        families.map((family) => {
          const all = `${family}.*`;
          const hasAll = value.includes(all);
          const members = (types ?? []).filter(({ type }) => familyOf(type) === family);
          const chosen = members.filter(({ type }) => value.includes(type)).length;
          return (
            <details key={family}>
              <summary>
                {family} <small>{hasAll ? 'all' : chosen > 0 ? `${chosen} of ${members.length}` : 'none'}</small>
              </summary>
              <Choice
                label={`All of ${family}`}
                name={all}
                isOn={hasAll}
                onToggle={() => onChange([...value.filter((one) => familyOf(one) !== family), ...(hasAll ? [] : [all])])}
              />
              {!hasAll &&
                members.map(({ type, doc }) => (
                  <Choice key={type} label={doc} name={type} isOn={value.includes(type)} onToggle={() => toggle(type)} />
                ))}
            </details>
          );
        })}
      {problem && (
        <small className="cq-field-problem" id={id}>
          {problem}
        </small>
      )}
    </fieldset>
  );
};
export default EventPicker;

const Choice: React.FC<{ label: string; name: string; isOn: boolean; onToggle: () => void }> = ({
  label,
  name,
  isOn,
  onToggle,
}) => (
  <label className="cq-check">
    <input type="checkbox" checked={isOn} onChange={onToggle} data-event={name} />
    <span>
      <code>{name}</code> <small>{label}</small>
    </span>
  </label>
);
