import React, { useState } from 'react';
import { messageOf, post } from '../api.js';
import Confirm from './Confirm.js';

/** A question that is asked first, in a dialog. It names the object; the consequence says what follows from a yes. */
type Asking = { question: string; consequence: string } | { question?: never; consequence?: never };

type ActionButtonProps = Asking & {
  label: string;
  path: string;
  body?: unknown;
  tone?: 'main' | 'danger';
  onDone: (answer: unknown) => void;
  onError: (message: string) => void;
};

/** A button that changes something. It asks for confirmation if it has a question, and reports the outcome. */
const ActionButton: React.FC<ActionButtonProps> = ({ label, path, body, question, consequence, tone, onDone, onError }) => {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const run = (): void => {
    setAsking(false);
    setBusy(true);
    post(path, body)
      .then(onDone, (error: unknown) => onError(messageOf(error)))
      .finally(() => setBusy(false));
  };
  return (
    <>
      <button
        type="button"
        className={tone ? `cq-button cq-${tone}` : 'cq-button'}
        disabled={busy}
        onClick={question ? () => setAsking(true) : run}
      >
        {busy ? `${label} …` : label}
      </button>
      {question && asking && (
        <Confirm
          question={question}
          consequence={consequence}
          label={label}
          isDangerous={tone === 'danger'}
          onYes={run}
          onNo={() => setAsking(false)}
        />
      )}
    </>
  );
};
export default ActionButton;
