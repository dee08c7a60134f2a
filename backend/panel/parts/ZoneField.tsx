import React, { useId } from 'react';
import Field from './Field.js';

interface ZoneFieldProps {
  value: string;
  onChange: (zone: string) => void;
  hint?: React.ReactNode;
}

const zones: readonly string[] = Intl.supportedValuesOf?.('timeZone') ?? [];

/** A field for a time zone, with the known ones as suggestions. The server decides which names it knows. */
const ZoneField: React.FC<ZoneFieldProps> = ({ value, onChange, hint }) => {
  const id = useId();
  return (
    <>
      <Field label="Time zone" name="timezone" hint={hint}>
        <input
          list={id}
          required
          maxLength={64}
          autoComplete="off"
          spellCheck={false}
          placeholder="America/Lima"
          value={value}
          onChange={(event) => onChange(event.target.value)}
        />
      </Field>
      <datalist id={id}>
        {zones.map((zone) => (
          <option key={zone} value={zone} />
        ))}
      </datalist>
    </>
  );
};
export default ZoneField;
