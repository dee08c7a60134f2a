import React from 'react';
import Ago from '../parts/Ago.js';
import Badge from '../parts/Badge.js';
import { bulkWord, messageWord, sessionWord } from '../words.js';

export type Row = Record<string, unknown>;

const text = (value: unknown): string => (value === null || value === undefined ? '' : String(value));

/** One value of a list, drawn by its `look` (admin/tables.ts). Text that strangers wrote is always shown as plain text. */
const Cell: React.FC<{ look: string; name: string; row: Row }> = ({ look, name, row }) => {
  const value = row[name];
  switch (look) {
    case 'time':
      return <Ago at={value as string | number | null} none="never" />;
    case 'session': {
      const [word, tone] = sessionWord(text(value));
      return (
        <>
          <Badge tone={tone}>{word}</Badge>
          {value !== 'connected' && row['reasonText'] ? <small className="cq-why">{text(row['reasonText'])}</small> : null}
        </>
      );
    }
    case 'message': {
      const [word, tone] = messageWord(text(value), text(row['direction']));
      return (
        <>
          <Badge tone={tone}>{word}</Badge>
          {row['reasonText'] && ['failed', 'uncertain', 'queued', 'scheduled'].includes(text(value)) ? (
            <small className="cq-why">{text(row['reasonText'])}</small>
          ) : null}
        </>
      );
    }
    case 'bulk': {
      const [word, tone] = bulkWord(text(value));
      return <Badge tone={tone}>{word}</Badge>;
    }
    case 'direction':
      return value === 'outbound' ? <span title="Outbound">↗ out</span> : <span title="Inbound">↙ in</span>;
    case 'yesno':
      return value ? <Badge tone="good">Yes</Badge> : <Badge tone="idle">No</Badge>;
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
      return value ? (
        <span className="cq-clip">{text(value)}</span>
      ) : (
        <em className="cq-soft">{text(row['type']) || 'no text'}</em>
      );
    case 'limit':
      return value ? <>{Number(value).toLocaleString('en')}</> : <span className="cq-soft">no limit</span>;
    case 'strong':
      return <b>{text(value) || text(row['chatId']) || '–'}</b>;
    default:
      return <>{text(value) || <span className="cq-soft">–</span>}</>;
  }
};
export default Cell;
