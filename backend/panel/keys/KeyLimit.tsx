import React from 'react';
import type { KeyView } from '../../src/admin/views/key.js';
import { post } from '../api.js';
import FigureLimit from '../parts/FigureLimit.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Sets how many requests a key may make within a window. */
const KeyLimit: React.FC<{ accessKey: KeyView; onNotice: (notice: Notice) => void }> = ({ accessKey: key, onNotice }) => (
  <FigureLimit
    label="Requests in a window"
    name="rateLimit"
    value={key.rateLimit}
    save={async (rateLimit) => {
      await post(`/live/keys/${key.id}/rate-limit`, { rateLimit });
      onNotice({ tone: 'good', text: 'Changed. It applies from the next request.' });
    }}
  />
);
export default KeyLimit;
