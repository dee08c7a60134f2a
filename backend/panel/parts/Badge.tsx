import React from 'react';
import type { Tone } from '../words.js';

/** A state as a word, with a dot so that it does not depend on colour alone. */
const Badge: React.FC<{ tone: Tone; title?: string | null; children: React.ReactNode }> = ({ tone, title, children }) => (
  <span className={`cq-badge cq-${tone}`} title={title ?? undefined}>
    <i aria-hidden="true" />
    {children}
  </span>
);
export default Badge;
