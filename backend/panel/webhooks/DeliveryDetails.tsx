import React from 'react';
import type { DeliveryView, ResentView } from '../../src/admin/views/delivery.js';
import { usePoll } from '../api.js';
import ActionButton from '../parts/ActionButton.js';
import Badge from '../parts/Badge.js';
import type { Notice } from '../parts/NoticeLine.js';
import { preciseText } from '../words.js';
import { resentText } from './resent.js';

/** JSON with line breaks; another text as it is. */
function pretty(text: string | null): string {
  if (text === null) return '';
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The request as a command for a shell, without the headers whose values are masked: signatures and own headers with secrets. */
function curlOf(url: string, { headers, request }: DeliveryView['log'][number]): string {
  const shown = Object.entries(headers as Record<string, string>).filter(([, value]) => value !== '…');
  const named = shown.map(([name, value]) => `  -H ${quoted(`${name}: ${value}`)} \\\n`);
  return `curl -X POST ${quoted(url)} \\\n${named.join('')}  --data-raw ${quoted(request ?? '')}`;
}

/** The attempts of a delivery as a timeline, and the last request and reply. */
const DeliveryDetails: React.FC<{ id: string; onNotice: (notice: Notice) => void }> = ({ id, onNotice }) => {
  const { value, error } = usePoll<DeliveryView>(`/live/deliveries/${id}`, 5_000);
  if (!value) return <p className="cq-soft">{error ?? 'Loading …'}</p>;
  const last = value.log.at(-1);
  const copy = (): void => {
    navigator.clipboard.writeText(curlOf(value.url ?? '', last!)).then(
      () => onNotice({ tone: 'good', text: 'The request is copied as curl.' }),
      () => onNotice({ tone: 'bad', text: 'The browser does not allow copying here.' }),
    );
  };
  return (
    <>
      <ol className="cq-list">
        {value.log.map((attempt) => (
          <li key={attempt.number}>
            <span>
              {attempt.number}. {preciseText(attempt.at)}
            </span>
            <span className="cq-below">
              <Badge tone={attempt.statusCode !== null && attempt.statusCode < 300 ? 'good' : 'bad'}>
                {attempt.statusCode ?? attempt.error ?? 'no reply'}
              </Badge>
              {attempt.durationMs} ms
            </span>
            {attempt.error !== null && attempt.statusCode !== null && <span className="cq-soft">{attempt.error}</span>}
          </li>
        ))}
      </ol>
      {last && (
        <>
          <h3>Last request</h3>
          <pre>{`POST ${value.url ?? ''}\n${Object.entries(last.headers as Record<string, string>)
            .map(([name, content]) => `${name}: ${content}`)
            .join('\n')}\n\n${pretty(last.request)}`}</pre>
          <h3>Its reply</h3>
          <pre>{`${last.statusCode ?? last.error ?? ''}\n\n${pretty(last.response)}`}</pre>
        </>
      )}
      <div className="cq-actions">
        {last?.request != null && value.url !== null && (
          <button type="button" className="cq-button" onClick={copy}>
            Copy as curl
          </button>
        )}
        {(value.status === 'failed' || value.status === 'delivered') && (
          <ActionButton
            label="Send again"
            path="/live/resend-deliveries"
            body={{ ids: [value.id] }}
            onDone={(answer) => onNotice(resentText(answer as ResentView))}
            onError={(text) => onNotice({ tone: 'bad', text })}
          />
        )}
      </div>
    </>
  );
};
export default DeliveryDetails;
