import React from 'react';
import { Link } from 'react-router-dom';
import type { KeyView } from '../../src/admin/views/key.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';
import { count } from '../words.js';

/** The details of a key. The key itself is not stored. */
const KeyFacts: React.FC<{ accessKey: KeyView }> = ({ accessKey: key }) => (
  <Facts
    of={[
      [
        'Account',
        <Link to={`${root}/resources/accounts/records/${key.account.id}/show`}>{key.account.name ?? key.account.id}</Link>,
      ],
      ['Scope', key.session ? `the session ${key.session.name ?? key.session.id}` : 'all sessions of the account'],
      ['Permissions', key.permissions.map((name) => <code key={name}>{name === '*' ? 'all' : name} </code>)],
      ['Primary key', key.isPrimary ? 'yes' : null],
      ['Requests', `${count(key.usage.successful + key.usage.failed)}, of them ${count(key.usage.failed)} refused or failed`],
      [
        'Own limit',
        key.rateLimit === null ? 'the installation’s' : key.rateLimit === 0 ? 'none' : `${count(key.rateLimit)} in a window`,
      ],
      ['Rotation', key.autoRotation ? 'a successor is created before it expires' : null],
      ['Successor', key.successorId && <Link to={`${root}/resources/keys/records/${key.successorId}/show`}>Open it</Link>],
      ['Last used', <Ago at={key.lastUsedAt} none="never" />],
      ['Expires', <Ago at={key.expiresAt} none="never" />],
      ['Created', <Ago at={key.createdAt} />],
      ['Id', <code>{key.id}</code>],
    ]}
  />
);
export default KeyFacts;
