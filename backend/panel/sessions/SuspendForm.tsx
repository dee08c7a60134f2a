import React, { useState } from 'react';
import { messageOf, post } from '../api.js';

/** Asks for the reason of a suspension, which the owner of the session can read. */
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
        placeholder="Reason. The owner can read it."
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
