import React from 'react';
import { posting, useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';

/** Asks for the reason of a suspension, which the owner of the session can read. */
const SuspendForm: React.FC<{ path: string; onDone: () => void; onCancel: () => void }> = ({ path, onDone, onCancel }) => {
  const form = useForm({ reason: '' }, posting(path, onDone));
  const cancel = (
    <button type="button" className="cq-button" onClick={onCancel}>
      Cancel
    </button>
  );
  return (
    <Form form={form} label="Suspend" look="line" isDangerous hint={cancel}>
      <Field label="Reason. The owner can read it." name="reason">
        <input
          value={form.fields.reason}
          onChange={(event) => form.set({ reason: event.target.value })}
          required
          maxLength={500}
          autoFocus
        />
      </Field>
    </Form>
  );
};
export default SuspendForm;
