import React, { useId } from 'react';
import { useFieldProblem } from './form-problems.js';

interface FamilyPickerProps {
  legend: string;
  /** The path of the list in the body that the form posts. */
  name: string;
  /** What `*` stands for. */
  all: string;
  /** The names that can be chosen, such as `message.sent`, each with its sentence. Null: not known yet. */
  items: readonly { name: string; doc: string }[] | null;
  /** Chosen names, families such as `message.*`, or `*`. */
  value: readonly string[];
  onChange: (value: string[]) => void;
}

const familyOf = (name: string): string => name.slice(0, name.indexOf('.'));

/** Chooses from a list of names with a point in them: all, whole families, or one by one. */
const FamilyPicker: React.FC<FamilyPickerProps> = ({ legend, name, all, items, value, onChange }) => {
  const problem = useFieldProblem(name);
  const id = useId();
  const toggle = (one: string): void => onChange(value.includes(one) ? value.filter((other) => other !== one) : [...value, one]);
  const families = [...new Set((items ?? []).map((item) => familyOf(item.name)))];
  const isAll = value.includes('*');
  return (
    <fieldset className="cq-picker" data-invalid={problem ? true : undefined} aria-describedby={problem ? id : undefined}>
      <legend>{legend}</legend>
      <Choice label={all} name="*" isOn={isAll} onToggle={() => onChange(isAll ? [] : ['*'])} />
      {!isAll &&
        families.map((family) => (
          <Family
            key={family}
            family={family}
            members={(items ?? []).filter((item) => familyOf(item.name) === family)}
            value={value}
            onChange={onChange}
            onToggle={toggle}
          />
        ))}
      {problem && (
        <small className="cq-field-problem" id={id}>
          {problem}
        </small>
      )}
    </fieldset>
  );
};
export default FamilyPicker;

interface FamilyProps extends Pick<FamilyPickerProps, 'value' | 'onChange'> {
  family: string;
  members: readonly { name: string; doc: string }[];
  onToggle: (name: string) => void;
}

const Family: React.FC<FamilyProps> = ({ family, members, value, onChange, onToggle }) => {
  const whole = `${family}.*`;
  const hasWhole = value.includes(whole);
  const chosen = members.filter(({ name }) => value.includes(name)).length;
  const others = value.filter((one) => familyOf(one) !== family);
  return (
    <details>
      <summary>
        {family} <small>{hasWhole ? 'all' : chosen > 0 ? `${chosen} of ${members.length}` : 'none'}</small>
      </summary>
      <Choice
        label={`All of ${family}`}
        name={whole}
        isOn={hasWhole}
        onToggle={() => onChange([...others, ...(hasWhole ? [] : [whole])])}
      />
      {!hasWhole &&
        members.map(({ name, doc }) => (
          <Choice key={name} label={doc} name={name} isOn={value.includes(name)} onToggle={() => onToggle(name)} />
        ))}
    </details>
  );
};

const Choice: React.FC<{ label: string; name: string; isOn: boolean; onToggle: () => void }> = ({
  label,
  name,
  isOn,
  onToggle,
}) => (
  <label className="cq-check">
    <input type="checkbox" checked={isOn} onChange={onToggle} data-choice={name} />
    <span>
      <code>{name}</code> <small>{label}</small>
    </span>
  </label>
);
