import React from 'react';
import type { KeyView } from '../../src/admin/views/key.js';
import Ask from '../parts/Ask.js';
import type { Saying } from '../parts/Said.js';

interface KeyActionsProps {
  accessKey: KeyView;
  onSaid: (what: Saying) => void;
  /** Hears the new key, once. */
  onSecret: (secret: string) => void;
}

/** What an admin can do with a key. */
const KeyActions: React.FC<KeyActionsProps> = ({ accessKey: { id, isActive }, onSaid, onSecret }) => {
  const onError = (text: string): void => onSaid({ tone: 'bad', text });
  return (
    <>
      <Ask
        label="Replace secret"
        path={`/live/keys/${id}/regenerate`}
        sure="The present key ends to work at once."
        onError={onError}
        onDone={(answer) => onSecret((answer as { secret: string }).secret)}
      />
      <Ask
        label={isActive ? 'Switch off' : 'Switch on'}
        path={`/live/keys/${id}/${isActive ? 'deactivate' : 'activate'}`}
        onError={onError}
        onDone={() => onSaid({ tone: 'good', text: isActive ? 'Switched off, from the next request on.' : 'Switched on.' })}
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
