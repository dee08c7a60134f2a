import React from 'react';

/** A list of names and values. A row without a value is left out. */
const Facts: React.FC<{ of: [string, React.ReactNode][] }> = ({ of }) => (
  <dl className="cq-facts">
    {of
      .filter(([, value]) => value !== null && value !== undefined && value !== '')
      .map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
  </dl>
);
export default Facts;
