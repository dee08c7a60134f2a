import React, { useEffect, useId, useRef } from 'react';

interface ConfirmProps {
  question: string;
  consequence?: string | undefined;
  /** The text of the button that says yes: the verb, as on the button that asked. */
  label: string;
  isDangerous?: boolean;
  onYes: () => void;
  onNo: () => void;
}

/**
 * Asks before something is changed. The focus is on the button that changes nothing, so that Enter alone never confirms. Escape, and the browser's
 * own way back, cancel; the focus returns to the button that asked.
 */
const Confirm: React.FC<ConfirmProps> = ({ question, consequence, label, isDangerous = false, onYes, onNo }) => {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const asker = document.activeElement;
    dialog.current?.showModal();
    return () => void (asker instanceof HTMLElement && asker.focus());
  }, []);
  return (
    <dialog
      ref={dialog}
      className="cq-dialog"
      role="alertdialog"
      aria-labelledby={`${id}-question`}
      aria-describedby={consequence ? `${id}-consequence` : undefined}
      onCancel={(event) => {
        event.preventDefault();
        onNo();
      }}
    >
      <h2 id={`${id}-question`}>{question}</h2>
      {consequence && <p id={`${id}-consequence`}>{consequence}</p>}
      <div className="cq-line">
        <button type="button" className="cq-button" onClick={onNo} autoFocus>
          {/^cancel/i.test(label) ? 'Go back' : 'Cancel'}
        </button>
        <button type="button" className={`cq-button ${isDangerous ? 'cq-danger' : 'cq-main'} cq-yes`} onClick={onYes}>
          {label}
        </button>
      </div>
    </dialog>
  );
};
export default Confirm;
