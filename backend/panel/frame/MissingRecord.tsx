import React from 'react';
import PageHead from './PageHead.js';

/** A page whose record is not loaded yet, or cannot be. */
const MissingRecord: React.FC<React.ComponentProps<typeof PageHead>> = (head) => (
  <div className="cq-page">
    <PageHead {...head} />
  </div>
);
export default MissingRecord;
