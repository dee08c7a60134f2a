import React, { useEffect, useState } from 'react';
import type { KeyView } from '../../src/admin/views/key.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';

/** Sets how many requests a key may make within a window. */
const KeyLimit: React.FC<{ accessKey: KeyView; onNotice: (notice: Notice) => void }> = ({ accessKey: key, onNotice }) => {
  const [limit, setLimit] = useState(key.rateLimit === null ? '' : String(key.rateLimit));
  useEffect(() => setLimit(key.rateLimit === null ? '' : String(key.rateLimit)), [key.rateLimit]);
  return (
    <div className="cq-line cq-begin">
      <label>
        Requests in a window <small className="cq-soft">empty: the installation’s; 0: none</small>{' '}
        <input
          type="number"
          min={0}
          aria-label="Requests in a window"
          value={limit}
          onChange={(event) => setLimit(event.target.value)}
        />
      </label>
      <ActionButton
        label="Set limit"
        path={`/live/keys/${key.id}/rate-limit`}
        body={{ rateLimit: limit === '' ? null : Number(limit) }}
        onDone={() => onNotice({ tone: 'good', text: 'Changed. It applies from the next request.' })}
        onError={(text) => onNotice({ tone: 'bad', text })}
      />
    </div>
  );
};
export default KeyLimit;
