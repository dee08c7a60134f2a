import React from 'react';
import PageHead from './PageHead.js';

/** The page of a record that is not loaded yet, or cannot be loaded. */
const MissingRecord: React.FC<React.ComponentProps<typeof PageHead>> = (head) => (
  <div className="cq-page">
    <PageHead {...head} />
  </div>
);
export default MissingRecord;
