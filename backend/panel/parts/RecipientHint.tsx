import React, { useContext } from 'react';
import { usePreview } from '../api.js';
import { FormContext } from './form-problems.js';
import { phoneText } from '../words.js';

/** What is typed so far could be a number, or the id of a chat. Shorter texts are not looked at: they are still being typed. */
const isLong = (text: string): boolean => text.includes('@') || text.replace(/\D/g, '').length >= 7;

const kinds: Record<string, string> = {
  lid: 'a person, by their hidden id',
  group: 'a group',
  channel: 'a channel',
};

/**
 * What the server makes of a recipient while it is typed, by the rules of a send: the number that it will reach, or what is wrong with it. `sessionId`
 * empty: no session is chosen yet.
 */
const RecipientHint: React.FC<{ recipient: string; sessionId: string }> = ({ recipient, sessionId }) => {
  const text = recipient.trim();
  const body = isLong(text) ? { sessionId: sessionId || null, recipient: text } : null;
  const { value, problem } = usePreview<{ kind: string; id: string }>('/live/recipient', body);
  // What the field says already, because the form was refused, is not said twice.
  const isSaid = Object.values(useContext(FormContext).problems).includes(problem ?? '');
  return (
    <span aria-live="polite" data-testid="recipient-hint">
      {body !== null && problem && !isSaid && <span className="cq-field-problem">{problem}</span>}
      {body !== null && !problem && value && `To ${kinds[value.kind] ?? phoneText(value.id.split('@', 1).join(''))}.`}
    </span>
  );
};
export default RecipientHint;
