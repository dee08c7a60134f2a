import React from 'react';
import type { CapabilitiesView } from '../../src/admin/views/capabilities.js';
import { usePoll } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { count } from '../words.js';

/** Which operations work with the WhatsApp Web build of this session, and why others do not. */
const Capabilities: React.FC<{ sessionId: string }> = ({ sessionId }) => {
  const { value, error } = usePoll<CapabilitiesView>(`/live/sessions/${sessionId}/capabilities`, 60_000);
  if (!value) return <p className="cq-soft">{error ?? 'Loading …'}</p>;
  return <CapabilityList of={value} />;
};
export default Capabilities;

/** The capabilities of one page of WhatsApp Web. */
export const CapabilityList: React.FC<{ of: CapabilitiesView }> = ({ of }) => {
  const { supported, others, listeners, whatsappWebVersion, checkedAt } = of;
  return (
    <div className="cq-stack" data-testid="capabilities">
      <p>
        {count(supported)} operations work, {count(others.length)} are limited.{' '}
        <span className="cq-soft">
          {checkedAt === null ? (
            'The page was not checked yet.'
          ) : (
            <>
              Checked <Ago at={checkedAt} /> with WhatsApp Web {whatsappWebVersion ?? 'of an unknown build'}.
            </>
          )}
        </span>
      </p>
      {listeners.length > 0 && <p className="cq-note cq-warn">Events that cannot be received: {listeners.join(', ')}.</p>}
      {others.length > 0 && (
        <details>
          <summary>Limited operations</summary>
          <ul className="cq-glance">
            {others.map(({ operation, support, reason }) => (
              <li key={operation}>
                <b>{operation}</b>
                <Badge tone={support === 'unsupported' ? 'bad' : 'warn'}>{support}</Badge>
                {reason && <small>{reason}</small>}
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
};
