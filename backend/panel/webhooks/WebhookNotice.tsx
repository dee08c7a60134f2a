import React from 'react';
import type { WebhookView } from '../../src/admin/views/webhook.js';
import { useNow } from '../api.js';
import { agoText, exactText, inText } from '../words.js';

const reasons: Record<string, string> = {
  GONE: 'The receiver answered 410: it no longer exists.',
  FAILING: 'Every attempt failed for days, so that it was switched off.',
  BY_REQUEST: 'It was switched off by a person or through the API.',
};

/** Why an endpoint does not deliver: since when, what happens next and what to do. Nothing while it delivers. */
const WebhookNotice: React.FC<{ webhook: WebhookView }> = ({ webhook }) => {
  const now = useNow(1_000);
  const { state, disabledReason, failures, failingSince, openUntil } = webhook;
  if (state === 'disabled')
    return (
      <p className="cq-note cq-warn">
        {reasons[disabledReason ?? ''] ?? disabledReason} Deliveries are held. Press “Switch on” when the receiver works; what was
        missed is delivered then. <code>{disabledReason}</code>
      </p>
    );
  if (state !== 'failing' && state !== 'open') return null;
  return (
    <p className={`cq-note cq-${state === 'open' ? 'bad' : 'warn'}`} role="status">
      <strong>{failures === 1 ? 'The last attempt failed.' : `The last ${failures} attempts failed.`}</strong>{' '}
      {failingSince !== null && `Since ${exactText(failingSince)} (${agoText(failingSince, now)}). `}
      {openUntil === null
        ? 'Deliveries are tried again by themselves. Check the receiver, then press “Test”.'
        : `Attempts pause so that the receiver is not flooded. Deliveries wait; the next one is tried ${inText(openUntil, now)}. Check the receiver, then press “Test”.`}
    </p>
  );
};
export default WebhookNotice;
