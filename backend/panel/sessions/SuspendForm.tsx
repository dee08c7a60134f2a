import React, { useState } from 'react';
import { messageOf, post } from '../api.js';

/** Suspending asks for a reason, which the owner of the session reads. */
const SuspendForm: React.FC<{ path: string; onDone: () => void; onCancel: () => void; onError: (text: string) => void }> = (
  props,
) => {
  const [reason, setReason] = useState('');
  const submit = (event: React.FormEvent): void => {
    event.preventDefault();
    post(props.path, { reason }).then(props.onDone, (error: unknown) => props.onError(messageOf(error)));
  };
  return (
    <form className="cq-sure" onSubmit={submit}>
      <input
        value={reason}
        onChange={(event) => setReason(event.target.value)}
        placeholder="Why? The owner reads it."
        aria-label="Reason"
        required
        maxLength={500}
        autoFocus
      />
      <button type="submit" className="cq-button cq-danger">
        Suspend
      </button>
      <button type="button" className="cq-button" onClick={props.onCancel}>
        Cancel
      </button>
    </form>
  );
};
export default SuspendForm;
