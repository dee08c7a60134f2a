import React from 'react';
import { Link } from 'react-router-dom';
import type { SessionView } from '../../src/admin/views/session.js';
import { root } from '../api.js';
import Badge from '../parts/Badge.js';
import { webhookWord } from '../words.js';

/** The webhooks that receive events of a session. */
const SessionWebhooks: React.FC<{ session: SessionView }> = ({ session: { webhooks } }) => {
  if (webhooks.length === 0)
    return (
      <p className="cq-soft">
        No webhook receives events of this session. <Link to={`${root}/resources/webhooks/actions/new`}>Create one</Link>
      </p>
    );
  return (
    <ul className="cq-list">
      {webhooks.map(({ id, title, ofAccount, state }) => {
        const [word, tone] = webhookWord(state);
        return (
          <li key={id}>
            <Link to={`${root}/resources/webhooks/records/${id}/show`}>{title}</Link>
            <Badge tone={tone}>{word}</Badge>
            <small>{ofAccount ? 'events of all sessions of the account' : 'events of this session'}</small>
          </li>
        );
      })}
    </ul>
  );
};
export default SessionWebhooks;
