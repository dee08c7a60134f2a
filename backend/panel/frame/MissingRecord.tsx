import React from 'react';
import Page from './Page.js';
import PageHead from './PageHead.js';

/** The page of a record that is not loaded yet, or cannot be loaded. */
const MissingRecord: React.FC<React.ComponentProps<typeof PageHead>> = (head) => (
  <Page>
    <PageHead {...head} />
  </Page>
);
export default MissingRecord;
