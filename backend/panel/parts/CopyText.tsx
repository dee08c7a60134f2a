import React, { useEffect, useState } from 'react';

/** For how long the button says that the text was copied. */
const shownMs = 2_000;

/** An id or another text that is copied whole. Browsers offer no clipboard on plain HTTP; the text is selected instead. */
const CopyText: React.FC<{ label: string; text: string }> = ({ label, text }) => {
  const [said, setSaid] = useState<string | null>(null);
  useEffect(() => {
    if (said === null) return;
    const timer = setTimeout(() => setSaid(null), shownMs);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = (event: React.MouseEvent<HTMLButtonElement>): void => {
    const code = event.currentTarget.previousElementSibling;
    const select = (): void => {
      if (code) window.getSelection()?.selectAllChildren(code);
      setSaid('Selected');
    };
    if (!navigator.clipboard) return select();
    navigator.clipboard.writeText(text).then(() => setSaid('Copied'), select);
  };
  return (
    <span className="cq-copy">
      <code>{text}</code>
      <button type="button" className="cq-button" aria-label={`${said ?? 'Copy'}: ${label}`} onClick={copy}>
        {said ?? 'Copy'}
      </button>
    </span>
  );
};
export default CopyText;
