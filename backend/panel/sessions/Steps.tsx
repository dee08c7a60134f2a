import React from 'react';

const steps = ['Start', 'Scan', 'Sync', 'Connected'];
const reached: Record<string, number> = { initializing: 0, qr_pending: 1, passkey_required: 1, connecting: 2, connected: 4 };

/** The steps to a connected session, and the one that it has reached. */
const Steps: React.FC<{ status: string }> = ({ status }) => {
  const at = reached[status] ?? -1;
  return (
    <ol className="cq-steps" aria-label="Steps to a connected session">
      {steps.map((name, index) => (
        <li
          key={name}
          className={index < at ? 'cq-past' : index === at ? 'cq-now' : ''}
          aria-current={index === at ? 'step' : undefined}
        >
          <i>{index < at ? '✓' : index + 1}</i>
          {name}
        </li>
      ))}
    </ol>
  );
};
export default Steps;
