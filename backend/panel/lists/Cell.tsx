import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { WebhookDay } from '../../src/admin/views/webhook-day.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import SessionBadge from '../sessions/SessionBadge.js';
import { changesIn, changeText } from '../records/changes.js';
import { actorText } from '../records/actor.js';
import DeliveryBar from '../webhooks/DeliveryBar.js';
import { activeWord, bulkWord, chatText, messageWord, phoneText, webhookWord } from '../words.js';

export type Row = Record<string, unknown>;

const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));

const chatOf = (row: Row): string =>
  chatText({
    type: text(row['chatType']),
    name: row['chatTitle'] as string | null,
    number: row['chatNumber'] as string | null,
  });

/** The small picture of a file beside the text of its message, which says what it is. One that was deleted since is not shown. */
const Thumbnail: React.FC<{ messageId: string }> = ({ messageId }) => {
  const [isGone, setGone] = useState(false);
  const source = `${root}/live/thumbnails/${messageId}`;
  return isGone ? null : <img className="cq-thumb" src={source} alt="" loading="lazy" onError={() => setGone(true)} />;
};

const StateOfSession: React.FC<{ row: Row; status: string }> = ({ row, status }) => (
  <SessionBadge
    status={status}
    workerId={row['workerId'] as string | null}
    isLinked={Boolean(row['phoneNumber'])}
    reason={row['by'] ? { by: text(row['by']), isWanted: Boolean(row['isWanted']) } : null}
  />
);

/** The first changes of an audit entry, one in a line. */
const Changes: React.FC<{ row: Row }> = ({ row }) => {
  const changes = changesIn(row['changes'], row['previous']) ?? [];
  if (changes.length === 0) return <span className="cq-soft">–</span>;
  const more = changes.length - shownChanges;
  return (
    <div>
      {changes.slice(0, shownChanges).map((change) => (
        <span key={change.name} className="cq-change" title={changeText(change)}>
          {changeText(change)}
        </span>
      ))}
      {more > 0 && <small className="cq-why">{`and ${more} more`}</small>}
    </div>
  );
};
const shownChanges = 2;

/** One value of a list, drawn by its `look` (admin/tables.ts). Text that strangers wrote is always shown as plain text. */
const Cell: React.FC<{ look: string; name: string; row: Row }> = ({ look, name, row }) => {
  const value = row[name];
  switch (look) {
    case 'time':
      return <Ago at={value as string | number | null} none="never" />;
    case 'session':
      return (
        <>
          <StateOfSession row={row} status={text(value)} />
          {value !== 'connected' && row['advice'] ? <small className="cq-why">{text(row['advice'])}</small> : null}
        </>
      );
    case 'message': {
      const [word, tone] = messageWord(text(value), text(row['direction']));
      return (
        <>
          <Badge tone={tone}>{word}</Badge>
          {row['advice'] && ['failed', 'uncertain', 'queued', 'scheduled'].includes(text(value)) ? (
            <small className="cq-why">{text(row['advice'])}</small>
          ) : null}
        </>
      );
    }
    case 'chat':
      return <b>{chatOf(row)}</b>;
    case 'phone':
      return value ? <span className="cq-number">{phoneText(text(value))}</span> : <span className="cq-soft">–</span>;
    case 'bulk': {
      const [word, tone] = bulkWord(text(value));
      return <Badge tone={tone}>{word}</Badge>;
    }
    case 'actor':
      return <b>{actorText(row)}</b>;
    case 'changes':
      return <Changes row={row} />;
    case 'object': {
      const name = text(row['objectName']) || text(row['objectId']);
      return (
        <>
          {row['objectTo'] && name ? <Link to={root + text(row['objectTo'])}>{name}</Link> : name || '–'}
          <small className="cq-why">{text(value).replaceAll('_', ' ')}</small>
        </>
      );
    }
    case 'webhook':
      return (
        <>
          <b>{text(row['webhookTitle'])}</b>
          {row['description'] ? <small className="cq-why">{text(value)}</small> : null}
        </>
      );
    case 'webhookState': {
      const [word, tone] = webhookWord(text(row['state']));
      return <Badge tone={tone}>{word}</Badge>;
    }
    case 'webhookDay':
      return <DeliveryBar day={JSON.parse(text(row['day'])) as WebhookDay} />;
    case 'direction':
      return value === 'outbound' ? <span title="Outbound">↗ out</span> : <span title="Inbound">↙ in</span>;
    case 'yesno': {
      if (name !== 'isActive') return <>{value ? 'Yes' : 'No'}</>;
      const [word, tone] = activeWord(Boolean(value));
      return <Badge tone={tone}>{word}</Badge>;
    }
    case 'role':
      return <Badge tone={value === 'admin' ? 'warn' : value === 'staff' ? 'info' : 'idle'}>{text(value)}</Badge>;
    case 'key':
      return (
        <code>
          {text(value)}…{text(row['lastFour'])}
        </code>
      );
    case 'name':
      return <>{text(row[name === 'accountId' ? 'accountName' : 'sessionName']) || <span className="cq-soft">–</span>}</>;
    case 'mono':
      return value ? <code>{text(value)}</code> : <span className="cq-soft">–</span>;
    case 'body':
      return (
        <span className="cq-body">
          {row['hasThumbnail'] ? <Thumbnail messageId={text(row['id'])} /> : null}
          {value ? <span className="cq-clip">{text(value)}</span> : <em className="cq-soft">{text(row['type']) || 'no text'}</em>}
        </span>
      );
    case 'limit':
      return value ? <>{Number(value).toLocaleString('en')}</> : <span className="cq-soft">no limit</span>;
    case 'strong':
      return <b>{text(value) || '–'}</b>;
    default:
      return <>{text(value) || <span className="cq-soft">–</span>}</>;
  }
};
export default Cell;
