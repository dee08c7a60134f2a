import React from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import Empty from '../parts/Empty.js';

const words: Record<string, [title: string, next: string, link?: [to: string, label: string]]> = {
  sessions: [
    'No phone is linked yet',
    'A session is one linked WhatsApp account. Create one, scan its code, and send.',
    ['/resources/sessions/actions/new', 'Link your first phone'],
  ],
  messages: [
    'No messages yet',
    'Messages appear here as soon as a session sends or receives one.',
    ['/resources/sessions', 'Go to the sessions'],
  ],
  templates: [
    'No templates yet',
    'A template is a message with variables such as {{name}}. Programs send it by its id.',
    ['/resources/templates/actions/new', 'New template'],
  ],
  optouts: [
    'No opt-outs yet',
    'People opt out with a keyword such as STOP, or are added by hand. Each account chooses its keywords on its page.',
    ['/resources/optouts/actions/new', 'Opt people out'],
  ],
  webhooks: [
    'No webhooks yet',
    'A webhook sends events, such as received messages, to an address of yours. Failed deliveries are tried again for days.',
    ['/resources/webhooks/actions/new', 'New webhook'],
  ],
  plans: [
    'No plans yet',
    'A plan limits the messages, sessions and requests of the accounts on it. Without a plan, an account has the limits of the installation.',
    ['/resources/plans/actions/new', 'New plan'],
  ],
  bulk: [
    'No bulk jobs yet',
    'A bulk job sends one message to many recipients, each with their own words, at a pace that WhatsApp tolerates.',
    ['/resources/bulk/actions/new', 'New bulk job'],
  ],
  accounts: [
    'No accounts',
    'Each program or tenant that uses the API has an account.',
    ['/resources/accounts/actions/new', 'New account'],
  ],
  keys: [
    'No API keys yet',
    'Programs sign in with a key. Create one for each program, with no more permissions than it needs.',
    ['/resources/keys/actions/new', 'New key'],
  ],
  audit: ['Nothing has been changed yet', 'Every change is recorded here, with its actor, time and IP address.'],
  failures: ['Nothing failed', 'An item that cannot be processed, such as a worker event that cannot be stored, is listed here.'],
};

/** The text of an empty list: what to do next, or that a filter hides every row. */
const NoRows: React.FC<{ table: string; filtered: boolean }> = ({ table, filtered }) => {
  if (filtered)
    return (
      <Empty title="Nothing matches">
        <p>
          <Link to={`${root}/resources/${table}`}>Clear the filters</Link> to see everything.
        </p>
      </Empty>
    );
  const [title, next, link] = words[table] ?? ['Nothing here', ''];
  return (
    <Empty title={title}>
      <p>{next}</p>
      {link && (
        <Link className="cq-button cq-main" to={root + link[0]}>
          {link[1]}
        </Link>
      )}
    </Empty>
  );
};
export default NoRows;
