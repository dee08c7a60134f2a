import React, { useState } from 'react';
import { messageOf, post } from '../api.js';

interface ActionButtonProps {
  label: string;
  path: string;
  body?: unknown;
  /** Asked before; the button then has to be pressed a second time. */
  sure?: string;
  tone?: 'main' | 'danger';
  onDone: (answer: unknown) => void;
  onError: (message: string) => void;
}

/** A button that changes something: asks first where that matters, and tells what came of it. */
const ActionButton: React.FC<ActionButtonProps> = ({ label, path, body, sure, tone, onDone, onError }) => {
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
      <span className="cq-sure" role="alertdialog" aria-label={sure}>
        <span>{sure}</span>
        <button type="button" className={`cq-button cq-${tone ?? 'main'}`} onClick={run} autoFocus>
          {label}
        </button>
        <button type="button" className="cq-button" onClick={() => setAsking(false)}>
          Cancel
        </button>
      </span>
    );
  return (
    <button
      type="button"
      className={tone ? `cq-button cq-${tone}` : 'cq-button'}
      disabled={busy}
      onClick={sure ? () => setAsking(true) : run}
    >
      {busy ? `${label} …` : label}
    </button>
  );
};
export default ActionButton;
