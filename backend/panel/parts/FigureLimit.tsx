import React, { useEffect } from 'react';
import { useForm } from '../hooks.js';
import { figureOf, figureText } from '../words.js';
import Field from './Field.js';
import Form from './Form.js';

interface FigureLimitProps {
  label: string;
  /** The path of the figure in the body that `save` posts. */
  name: string;
  /** The limit as it is now. Null: that of the installation. */
  value: number | null;
  save(value: number | null): Promise<void>;
}

/** A form with one limit: a figure, 0 for none, or nothing for that of the installation. */
const FigureLimit: React.FC<FigureLimitProps> = ({ label, name, value, save }) => {
  const form = useForm({ figure: figureText(value) }, ({ figure }) => save(figureOf(figure)));
  const { fields, set } = form;
  useEffect(() => set({ figure: figureText(value) }), [value]);
  return (
    <Form form={form} label="Set limit" look="line">
      <Field
        label={
          <>
            {label} <small className="cq-soft">empty: the installation’s; 0: none</small>
          </>
        }
        name={name}
      >
        <input
          type="number"
          aria-label={label}
          min={0}
          value={fields.figure}
          onChange={(event) => set({ figure: event.target.value })}
        />
      </Field>
    </Form>
  );
};
export default FigureLimit;
