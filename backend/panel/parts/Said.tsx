import React from 'react';

export interface Saying {
  tone: 'good' | 'bad';
  text: string;
}

/** What came of the last change; screen readers hear it. */
const Said: React.FC<{ what: Saying | null }> = ({ what }) => (
  <div aria-live="polite" className="cq-said">
    {what && (
      <p className={`cq-note cq-${what.tone}`} role={what.tone === 'bad' ? 'alert' : 'status'}>
        {what.text}
      </p>
    )}
  </div>
);
export default Said;
