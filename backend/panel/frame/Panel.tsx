import React from 'react';

/** A box with a heading. */
const Panel: React.FC<{ title: string; aside?: React.ReactNode; wide?: boolean; children: React.ReactNode }> = ({
  title,
  aside,
  wide,
  children,
}) => (
  <section className={wide ? 'cq-panel cq-wide' : 'cq-panel'}>
    <header>
      <h2>{title}</h2>
      {aside}
    </header>
    {children}
  </section>
);
export default Panel;
