import React from 'react';
import type { Form } from '../hooks.js';
import Field from '../parts/Field.js';
import EventPicker from './EventPicker.js';
import EventSample from './EventSample.js';
import FilterFields from './FilterFields.js';
import HeadersField from './HeadersField.js';
import RetryFields from './RetryFields.js';
import TransformFields from './TransformFields.js';
import type { WebhookValues } from './values.js';

interface WebhookFieldsProps {
  form: Pick<Form<WebhookValues>, 'fields' | 'set'>;
  /** The names of the headers that are stored. Their values are not shown again. */
  headerNames?: readonly string[];
}

/** The fields of the forms that create and change an endpoint. */
const WebhookFields: React.FC<WebhookFieldsProps> = ({ form, headerNames = [] }) => {
  const { fields, set } = form;
  return (
    <>
      <Field label="URL" name="url">
        <input
          type="url"
          value={fields.url}
          onChange={(event) => set({ url: (event.target as HTMLInputElement).value })}
          placeholder="https://shop.example/hooks"
          required
          maxLength={2048}
        />
      </Field>
      <Field label="Name, optional" name="description" hint="Lists show it instead of the address.">
        <input
          value={fields.description}
          onChange={(event) => set({ description: (event.target as HTMLInputElement).value })}
          maxLength={200}
          placeholder="Orders of the shop"
        />
      </Field>
      <EventPicker value={fields.events} onChange={(events) => set({ events })} />
      <EventSample events={fields.events} />
      <HeadersField value={fields.headers} stored={headerNames} onChange={(headers) => set({ headers })} />
      <FilterFields fields={fields} set={set} />
      <TransformFields fields={fields} set={set} />
      <RetryFields fields={fields} set={set} />
    </>
  );
};
export default WebhookFields;
