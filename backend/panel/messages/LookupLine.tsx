import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import { useNow } from '../api.js';
import { agoText, count, exactText, inText } from '../words.js';

const results: Record<NonNullable<MessageView['lookup']['result']>, string> = {
  acknowledged: 'WhatsApp has it',
  pending: 'it is in WhatsApp Web, which has not sent it yet',
  refused: 'WhatsApp refused it',
  absent: 'it is not in WhatsApp Web, whose history may be incomplete',
  proven_absent: 'it is certainly not in WhatsApp Web',
  no_answer: 'WhatsApp Web did not answer',
};

const times = (number: number): string => (number === 1 ? 'once' : `${count(number)} times`);

/** What is known of the lookups of an uncertain message, and when the next one is. */
const LookupLine: React.FC<{ message: MessageView }> = ({ message: { lookup, status, nextAttemptAt, session } }) => {
  const now = useNow(1_000);
  if (status !== 'uncertain') return null;
  const { count: number, lastAt, result } = lookup;
  return (
    <p className="cq-soft" data-testid="lookups">
      {number === 0 || lastAt === null ? (
        'It has not been looked up in WhatsApp Web yet.'
      ) : (
        <>
          Looked up {times(number)} in WhatsApp Web,{' '}
          <time dateTime={new Date(lastAt).toISOString()} title={exactText(lastAt)}>
            last {agoText(lastAt, now)}
          </time>
          {result && `: ${results[result]}`}.
        </>
      )}{' '}
      {nextText(nextAttemptAt, session.isConnected, now)}
    </p>
  );
};
export default LookupLine;

function nextText(at: number | null, isConnected: boolean, now: number): string {
  if (at === null) return 'It waits for your decision, and is looked up once more when the session connects again.';
  if (!isConnected) return 'The next lookup is when the session is connected.';
  return `The next lookup is ${inText(at, now)}, at ${new Date(at).toLocaleTimeString('en-GB')}.`;
}
