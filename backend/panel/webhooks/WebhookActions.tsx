import React from 'react';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import ActionButton from '../parts/ActionButton.js';
import type { Notice } from '../parts/NoticeLine.js';

interface Tried {
  ok: boolean;
  statusCode: number | null;
  durationMs: number;
  error: string | null;
}

/** What can be done with an endpoint. */
const WebhookActions: React.FC<{ webhook: WebhookView; onNotice: (what: Notice) => void }> = ({ webhook, onNotice }) => {
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
          const { ok, statusCode, durationMs, error } = answer as Tried;
          const what = statusCode === null ? `no answer (${error ?? 'unknown'})` : `answered ${statusCode}`;
          onNotice({ tone: ok ? 'good' : 'bad', text: `The receiver ${what} after ${durationMs} ms.` });
        }}
      />
      {webhook.counts.failed > 0 && (
        <ActionButton label="Send failed again" path={`${path}/redeliver-failed`} {...notify('They are on their way again.')} />
      )}
      {webhook.isActive ? (
        <ActionButton
          label="Switch off"
          path={`${path}/disable`}
          tone="danger"
          sure="Nothing more is sent; what waits is held."
          {...notify('Switched off.')}
        />
      ) : (
        <ActionButton
          label="Switch on"
          path={`${path}/enable`}
          tone="main"
          {...notify('Switched on. What was held, and what came meanwhile, is on its way.')}
        />
      )}
    </>
  );
};
export default WebhookActions;
