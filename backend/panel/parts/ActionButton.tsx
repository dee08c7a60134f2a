import React, { useState } from 'react';
import { messageOf, post } from '../api.js';
import Confirm from './Confirm.js';

interface ActionButtonProps {
  label: string;
  path: string;
  body?: unknown;
  /** A question that is asked first, in a dialog. It names the object. */
  question?: string;
  /** What follows from a yes, below the question. */
  consequence?: string;
  tone?: 'main' | 'danger';
  onDone: (answer: unknown) => void;
  onError: (message: string) => void;
}

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
