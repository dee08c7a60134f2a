import React from 'react';
import type { TestOutcome } from '../../src/admin/verbs.js';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count, inText } from '../words.js';
import { outcomeNotice } from './outcome.js';

/** The actions on an endpoint. */
const WebhookActions: React.FC<{ webhook: WebhookView; onNotice: (notice: Notice) => void }> = ({ webhook, onNotice }) => {
  const path = `/live/webhooks/${webhook.id}`;
  const onError = (text: string): void => onNotice({ tone: 'bad', text });
  const notify = (text: string) => ({ onError, onDone: () => onNotice({ tone: 'good', text }) });
  return (
    <>
      <ActionButton
        label="Test"
        path={`${path}/test`}
        onError={onError}
        onDone={(answer) => onNotice(outcomeNotice(answer as TestOutcome))}
      />
      {webhook.counts.failed > 0 && (
        <ActionButton
          label={`Send ${count(webhook.counts.failed)} failed again`}
          path={`${path}/redeliver-failed`}
          question={`Send ${deliveries(webhook.counts.failed)} to ${webhook.title} again?`}
          consequence={`They keep their ids. ${sentText(webhook)}`}
          onError={onError}
          onDone={(answer) => onNotice({ tone: 'good', text: queuedText((answer as { queued: number }).queued, webhook) })}
        />
      )}
      {webhook.isActive ? (
        <ActionButton
          label="Switch off"
          path={`${path}/disable`}
          tone="danger"
          question={`Switch off the webhook ${webhook.title}?`}
          consequence="Its receiver gets nothing more, and deliveries that wait are held until it is switched on."
          {...notify('Switched off.')}
        />
      ) : (
        <ActionButton
          label="Switch on"
          path={`${path}/enable`}
          tone="main"
          {...notify('Switched on. Held deliveries and the events since then are sent now.')}
        />
      )}
    </>
  );
};
export default WebhookActions;

const deliveries = (number: number): string => (number === 1 ? '1 failed delivery' : `${count(number)} failed deliveries`);

/** When deliveries are sent that wait: nothing is sent while attempts pause or the endpoint is off. */
function sentText({ state, openUntil, now }: WebhookView): string {
  if (state === 'disabled') return 'They are sent when the webhook is switched on.';
  if (state === 'open')
    return `The receiver is tried ${openUntil === null ? 'soon' : inText(openUntil, now).replace(/\.$/, '')}.`;
  return 'They are sent now, in order.';
}

const queuedText = (queued: number, webhook: WebhookView): string =>
  `${queued === 1 ? '1 delivery waits again.' : `${count(queued)} deliveries wait again.`} ${sentText(webhook)}`;
