import React from 'react';
import { Link } from 'react-router-dom';
import type { SessionView } from '../../src/admin/views/session.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { activeWord } from '../words.js';

/** The keys that may use this session only. */
const SessionKeys: React.FC<{ session: SessionView }> = ({ session: { keys } }) => {
  if (keys.length === 0)
    return (
      <p className="cq-soft">
        No key is bound to this session; keys of the account may use it.{' '}
        <Link to={`${root}/resources/keys/actions/new`}>New key</Link>
      </p>
    );
  return (
    <ul className="cq-list">
      {keys.map(({ id, name, isActive, lastUsedAt }) => {
        const [word, tone] = activeWord(isActive);
        return (
          <li key={id}>
            <Link to={`${root}/resources/keys/records/${id}/show`}>{name}</Link>
            <Badge tone={tone}>{word}</Badge>
            <small>
              last used <Ago at={lastUsedAt} none="never" />
            </small>
          </li>
        );
      })}
    </ul>
  );
};
export default SessionKeys;
