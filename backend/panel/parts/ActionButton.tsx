import React, { useState } from 'react';
import { messageOf, post } from '../api.js';

interface ActionButtonProps {
  label: string;
  path: string;
  body?: unknown;
  /** A question that is asked first; the button must then be pressed a second time. */
  question?: string;
  tone?: 'main' | 'danger';
  onDone: (answer: unknown) => void;
  onError: (message: string) => void;
}

/** A button that changes something. It asks for confirmation if it has a question, and reports the outcome. */
const ActionButton: React.FC<ActionButtonProps> = ({ label, path, body, question, tone, onDone, onError }) => {
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const run = (): void => {
    setAsking(false);
    setBusy(true);
    post(path, body)
      .then(onDone, (error: unknown) => onError(messageOf(error)))
      .finally(() => setBusy(false));
  };
  if (asking)
    return (
      <span className="cq-sure" role="alertdialog" aria-label={question}>
        <span>{question}</span>
        <button type="button" className={`cq-button cq-${tone ?? 'main'}`} onClick={run} autoFocus>
          {label}
        </button>
        <button type="button" className="cq-button" onClick={() => setAsking(false)}>
          Go back
        </button>
      </span>
    );
  return (
    <button
      type="button"
      className={tone ? `cq-button cq-${tone}` : 'cq-button'}
      disabled={busy}
      onClick={question ? () => setAsking(true) : run}
    >
      {busy ? `${label} …` : label}
    </button>
  );
};
export default ActionButton;
