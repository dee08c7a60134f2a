import React from 'react';
import type { Form } from '../hooks.js';
import Field from '../parts/Field.js';
import EventPicker from './EventPicker.js';

/** What a person decides of an endpoint, new or existing. */
export interface WebhookValues {
  url: string;
  description: string;
  events: string[];
}

/** The body that the routes of the panel accept. */
export const bodyOfWebhook = ({ url, description, events }: WebhookValues) => ({
  url: url.trim(),
  description: description.trim() || null,
  events,
});

/** The fields of the forms that create and change an endpoint. */
const WebhookFields: React.FC<{ form: Pick<Form<WebhookValues>, 'fields' | 'set'> }> = ({ form }) => {
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
    </>
  );
};
export default WebhookFields;
