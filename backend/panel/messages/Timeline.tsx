import React from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import { messageWord, preciseText } from '../words.js';

type Step = MessageView['timeline'][number];

const names: Record<string, string> = {
  'message.received': 'Received',
  'message.media': 'File',
  'message.reaction': 'Reaction',
};

/** The steps of a message from the event log, or from the times of the message when the log was pruned. */
const Timeline: React.FC<{ message: MessageView }> = ({ message }) => {
  const steps: Step[] =
    message.timeline.length > 0
      ? message.timeline
      : Object.entries(message.times).flatMap(([name, at]) =>
          at ? [{ cursor: at, type: '', status: name.replace(/At$/, ''), at, reason: null, attempt: null }] : [],
        );
  const first = steps[0]?.at ?? 0;
  return (
    <ol className="cq-timeline">
      {steps.map((step) => {
        const [word, tone] = messageWord(step.status, message.direction);
        return (
          <li key={step.cursor} className={`cq-${tone}`}>
            <b>{names[step.type] ?? word}</b>
            {step.attempt !== null && step.status === 'sending' ? <span> attempt {step.attempt}</span> : null}
            <small>
              <time dateTime={new Date(step.at).toISOString()}>{preciseText(step.at)}</time>
              {step.at > first ? ` · after ${after(step.at - first)}` : ''}
            </small>
            {step.reason && (
              <small>
                {step.reason.what} <code>{step.reason.code}</code>
              </small>
            )}
          </li>
        );
      })}
    </ol>
  );
};

function after(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 3_600_000 ? `${Math.round(ms / 60_000)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}
export default Timeline;
