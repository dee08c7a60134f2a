import React from 'react';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';

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
        <ActionButton label="Send failed again" path={`${path}/redeliver-failed`} {...notify('They are sent again.')} />
      )}
      {webhook.isActive ? (
        <ActionButton
          label="Switch off"
          path={`${path}/disable`}
          tone="danger"
          question="Nothing more is sent, and waiting deliveries are held. Switch it off?"
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
