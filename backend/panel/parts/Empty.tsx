import React from 'react';

/** The text of an empty place: why it is empty, and what to do next. */
const Empty: React.FC<{ title: string; children?: React.ReactNode }> = ({ title, children }) => (
  <div className="cq-empty">
    <svg viewBox="0 0 64 40" width="64" height="40" aria-hidden="true">
      <path d="M4 8h56" />
      <path d="M16 8v24M32 8v28M48 8v20" />
      <circle cx="16" cy="18" r="3.5" />
      <circle cx="32" cy="26" r="3.5" />
      <circle cx="48" cy="15" r="3.5" />
    </svg>
    <p>
      <strong>{title}</strong>
    </p>
    {children}
  </div>
);
export default Empty;
