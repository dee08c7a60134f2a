import React, { useState } from 'react';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import TimesFields, { type Times } from './TimesFields.js';

/** Changes the times or the name of a schedule. */
const ChangeTimes: React.FC<{ id: string; from: Times; onDone: () => void }> = ({ id, from, onDone }) => {
  const [isOpen, setOpen] = useState(false);
  const form = useForm(from, async (times) => {
    await post(`/live/schedules/${id}/times`, times);
    setOpen(false);
    onDone();
  });
  if (!isOpen)
    return (
      <button type="button" className="cq-button" onClick={() => setOpen(true)}>
        Change times
      </button>
    );
  const back = (
    <button type="button" className="cq-button" onClick={() => setOpen(false)}>
      Go back
    </button>
  );
  return (
    <Form form={form} label="Save" testId="change-times" hint={back}>
      <TimesFields fields={form.fields} set={form.set} />
    </Form>
  );
};
export default ChangeTimes;
