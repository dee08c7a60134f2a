import React, { useState } from 'react';

/** A secret that is shown only this once. */
const OneTimeSecret: React.FC<{ label: string; secret: string; hint: string }> = ({ label, secret, hint }) => {
  const [copied, setCopied] = useState(false);
  const copy = (): void => {
    // Browsers offer no clipboard on plain HTTP; the text of the field can still be selected and copied.
    navigator.clipboard?.writeText(secret).then(
      () => setCopied(true),
      () => setCopied(false),
    );
  };
  return (
    <div className="cq-once" role="status">
      <strong>{label}</strong>
      <div className="cq-line">
        <input readOnly value={secret} aria-label={label} onFocus={(event) => event.currentTarget.select()} />
        <button type="button" className="cq-button" onClick={copy}>
          {copied ? 'Copied' : 'Copy'}
        </button>
      </div>
      <p>{hint}</p>
    </div>
  );
};
export default OneTimeSecret;
