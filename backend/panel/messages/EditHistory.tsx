import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import Ago from '../parts/Ago.js';

/** The texts that a message had before, the latest first. */
const EditHistory: React.FC<{ edits: MessageView['edits'] }> = ({ edits }) => (
  <ol className="cq-timeline" data-testid="edits">
    {[...edits].reverse().map(({ cursor, previousText, at }) => (
      <li key={cursor}>
        <span className="cq-text">{previousText ?? 'The text was not stored.'}</span>
        <small>
          until <Ago at={at} />
        </small>
      </li>
    ))}
  </ol>
);
export default EditHistory;
