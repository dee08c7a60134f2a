import React, { useId } from 'react';
import Field from '../parts/Field.js';
import { useFieldProblem } from '../parts/form-problems.js';
import PairRows, { type Pair } from './PairRows.js';
import type { WebhookValues } from './values.js';

type TransformValues = Pick<WebhookValues, 'bodyForm' | 'template' | 'paths' | 'renames'>;

interface TransformFieldsProps {
  fields: TransformValues;
  set: (changes: Partial<TransformValues>) => void;
}

/** The form in which the receiver gets the events: the body, and the names of the events. */
const TransformFields: React.FC<TransformFieldsProps> = ({ fields, set }) => (
  <fieldset className="cq-picker" data-testid="transform">
    <legend>Transformation, optional</legend>
    <Field
      label="Body of a delivery"
      hint={fields.bodyForm === 'whole' ? undefined : 'The preview below shows the body of the newest event that matches.'}
    >
      <select value={fields.bodyForm} onChange={(event) => set({ bodyForm: event.target.value as TransformValues['bodyForm'] })}>
        <option value="whole">the whole event</option>
        <option value="fields">chosen values of the event</option>
        <option value="template">a template</option>
      </select>
    </Field>
    {fields.bodyForm === 'template' && (
      <Field
        label="Template"
        name="transform.template"
        hint="JSON. {{data.text}} is replaced by the value at this path of the event. A text alone needs quotes."
      >
        <textarea
          className="cq-source"
          rows={5}
          spellCheck={false}
          value={fields.template}
          onChange={(event) => set({ template: event.target.value })}
          placeholder={'{ "from": "{{data.contact.phone}}", "text": "{{data.text}}" }'}
        />
      </Field>
    )}
    {fields.bodyForm === 'fields' && (
      <Pairs
        legend="Values"
        name="transform.fields"
        item="value"
        words={{ name: 'Name', value: 'Path' }}
        placeholders={{ name: 'text', value: 'data.text' }}
        maxLength={{ name: 100, value: 200 }}
        rows={fields.paths}
        onChange={(paths) => set({ paths })}
      />
    )}
    <Pairs
      legend="Other names of events"
      name="transform.rename"
      item="name"
      words={{ name: 'Event', value: 'Name' }}
      placeholders={{ name: 'message.received', value: 'incoming' }}
      maxLength={{ name: 40, value: 100 }}
      rows={fields.renames}
      onChange={(renames) => set({ renames })}
    />
  </fieldset>
);
export default TransformFields;

interface PairsProps extends React.ComponentProps<typeof PairRows> {
  legend: string;
  /** The path of the field in the body that the form posts. */
  name: string;
  rows: readonly Pair[];
}

const Pairs: React.FC<PairsProps> = ({ legend, name, ...rest }) => {
  const problem = useFieldProblem(name);
  const id = useId();
  return (
    <fieldset className="cq-picker" data-invalid={problem ? true : undefined} aria-describedby={problem ? id : undefined}>
      <legend>{legend}</legend>
      <PairRows {...rest} />
      {problem && (
        <small className="cq-field-problem" id={id}>
          {problem}
        </small>
      )}
    </fieldset>
  );
};
