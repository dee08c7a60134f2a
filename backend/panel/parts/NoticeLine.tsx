import React from 'react';

/** The outcome of a change. */
export interface Notice {
  tone: 'good' | 'bad';
  text: string;
}

/** Shows the outcome of the last change. Screen readers announce it. */
const NoticeLine: React.FC<{ notice: Notice | null }> = ({ notice }) => (
  <div aria-live="polite" className="cq-notice">
    {notice && (
      <p className={`cq-note cq-${notice.tone}`} role={notice.tone === 'bad' ? 'alert' : 'status'}>
        {notice.text}
      </p>
    )}
  </div>
);
export default NoticeLine;
