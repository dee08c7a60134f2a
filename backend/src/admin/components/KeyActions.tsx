import React from 'react';
import Ask from './Ask.js';
import type { Saying } from './Said.js';

interface KeyActionsProps {
  id: string;
  onSaid: (what: Saying) => void;
  /** Hears the new key, once. */
  onSecret: (secret: string) => void;
}

/** What an admin can do with a key that works. */
const KeyActions: React.FC<KeyActionsProps> = ({ id, onSaid, onSecret }) => {
  const onError = (text: string): void => onSaid({ tone: 'bad', text });
  return (
    <>
      <Ask
        label="Make anew"
        path={`/live/keys/${id}/regenerate`}
        sure="The present key ends to work at once."
        onError={onError}
        onDone={(answer) => onSecret((answer as { secret: string }).secret)}
      />
      <Ask
        label="Revoke"
        path={`/live/keys/${id}/revoke`}
        tone="danger"
        sure="Programs that use it are shut out at once."
        onError={onError}
        onDone={() => onSaid({ tone: 'good', text: 'Revoked.' })}
      />
    </>
  );
};
export default KeyActions;
