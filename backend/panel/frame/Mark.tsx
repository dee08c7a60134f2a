import React from 'react';

/** The logo: a cord with knots, as the Chasqui runners carried them. It is the same drawing as static/logo.svg. */
const Mark: React.FC<{ size: number }> = ({ size }) => (
  <svg className="cq-mark" width={size} height={size} viewBox="0 0 48 48" aria-hidden="true">
    <rect width="48" height="48" rx="12" fill="#0f766e" />
    <path d="M8 14c8-4 24-4 32 0" fill="none" stroke="#fff" strokeWidth="3" strokeLinecap="round" />
    <path d="M14 13v21M24 11.5v27M34 13v17" fill="none" stroke="#fff" strokeWidth="2.4" strokeLinecap="round" />
    <circle cx="14" cy="23" r="3.6" fill="#fbbf24" />
    <circle cx="24" cy="20" r="3.6" fill="#fff" />
    <circle cx="24" cy="31" r="3.6" fill="#fbbf24" />
    <circle cx="34" cy="25" r="3.6" fill="#fff" />
  </svg>
);
export default Mark;
