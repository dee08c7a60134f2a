import React from 'react';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';
import { inText } from '../words.js';

interface TestOutcome {
  ok: boolean;
  statusCode: number | null;
  durationMs: number;
  error: string | null;
}

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
        onDone={(answer) => {
          const { ok, statusCode, durationMs, error } = answer as TestOutcome;
          const outcome = statusCode === null ? `gave no answer (${error ?? 'unknown'})` : `answered ${statusCode}`;
          onNotice({ tone: ok ? 'good' : 'bad', text: `The receiver ${outcome} after ${durationMs} ms.` });
        }}
      />
      {webhook.counts.failed > 0 && (
        <ActionButton
          label="Send failed again"
          path={`${path}/redeliver-failed`}
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

/** What becomes of deliveries that were asked for again: nothing is sent while attempts pause or the endpoint is off. */
function queuedText(queued: number, { state, openUntil, now }: WebhookView): string {
  const what = queued === 1 ? '1 delivery waits again.' : `${queued} deliveries wait again.`;
  if (state === 'disabled') return `${what} They are sent when the webhook is switched on.`;
  if (state === 'open') return `${what} The receiver is tried ${openUntil === null ? 'soon' : inText(openUntil, now)}.`;
  return `${what} They are sent now, in order.`;
}
