import React from 'react';
import type { KeyView } from '../../src/admin/views/key.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';

interface KeyActionsProps {
  accessKey: KeyView;
  onNotice: (notice: Notice) => void;
  /** Receives the new key, once. */
  onSecret: (secret: string) => void;
}

/** The actions of an admin on a key. */
const KeyActions: React.FC<KeyActionsProps> = ({ accessKey: { id, name, isActive }, onNotice, onSecret }) => {
  const onError = (text: string): void => onNotice({ tone: 'bad', text });
  return (
    <>
      <ActionButton
        label="Replace secret"
        path={`/live/keys/${id}/regenerate`}
        question={`Replace the key ${name}?`}
        consequence="The present key stops working at once. Programs that use it are refused until they have the new one."
        onError={onError}
        onDone={(answer) => onSecret((answer as { secret: string }).secret)}
      />
      <ActionButton
        label={isActive ? 'Switch off' : 'Switch on'}
        path={`/live/keys/${id}/${isActive ? 'deactivate' : 'activate'}`}
        {...(isActive
          ? {
              question: `Switch off the key ${name}?`,
              consequence: 'Programs that use it are refused from the next request on, until it is switched on.',
            }
          : {})}
        onError={onError}
        onDone={() => onNotice({ tone: 'good', text: isActive ? 'Switched off, from the next request on.' : 'Switched on.' })}
      />
      <ActionButton
        label="Revoke"
        path={`/live/keys/${id}/revoke`}
        tone="danger"
        question={`Revoke the key ${name}?`}
        consequence="Programs that use it are refused at once. This cannot be undone."
        onError={onError}
        onDone={() => onNotice({ tone: 'good', text: 'Revoked.' })}
      />
    </>
  );
};
export default KeyActions;
