import React, { useState } from 'react';
import type { RecordJSON } from 'adminjs';
import { messageOf, post } from '../api.js';
import Confirm from '../parts/Confirm.js';
import NoticeLine, { type Notice } from '../parts/NoticeLine.js';

interface Action {
  label: string;
  /** The states that allow it. */
  statuses: readonly string[];
  /** The route below a message, and its body. */
  verb: string;
  body: Record<string, unknown>;
  /** What is true of a message afterwards: "3 messages …". */
  done: string;
  consequence: string;
  isDangerous?: boolean;
}

const actions: readonly Action[] = [
  {
    label: 'Try again',
    statuses: ['failed'],
    verb: 'retry',
    body: {},
    done: 'in the queue again, under the same ids',
    consequence: 'Each is attempted once more. One that cannot be sent fails again with its reason.',
  },
  {
    label: 'They arrived',
    statuses: ['uncertain'],
    verb: 'resolve',
    body: { as: 'sent' },
    done: 'resolved as sent',
    consequence:
      'Say yes only if you saw all of them on the phone. They are then recorded as sent and are not looked up any more.',
  },
  {
    label: 'They did not arrive',
    statuses: ['uncertain'],
    verb: 'resolve',
    body: { as: 'failed' },
    done: 'resolved as failed',
    consequence: 'They are not sent again by themselves, and not looked up any more.',
  },
  {
    label: 'Send again',
    statuses: ['uncertain'],
    verb: 'resolve',
    body: { as: 'retry' },
    done: 'sent again under the same ids',
    consequence: 'They keep their WhatsApp ids. Of a message that did arrive, WhatsApp shows the second attempt nowhere.',
  },
  {
    label: 'Cancel messages',
    statuses: ['queued', 'scheduled'],
    verb: 'cancel',
    body: {},
    done: 'cancelled',
    consequence: 'They are never sent.',
    isDangerous: true,
  },
];

const messages = (count: number): string => (count === 1 ? '1 message' : `${count} messages`);
const valueOf = ({ params }: RecordJSON, name: string): string => String((params as Record<string, unknown>)[name] ?? '');

/** What can be done with the selected messages. Each action is for those whose state allows it, says how many they are, and asks first. */
const MessageSelection: React.FC<{ records: readonly RecordJSON[]; onDone: () => void }> = ({ records, onDone }) => {
  const [asked, setAsked] = useState<{ action: Action; ids: string[] } | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [notice, setNotice] = useState<Notice | null>(null);
  const own = records.filter((record) => valueOf(record, 'direction') === 'outbound');
  const offers = actions.flatMap((action) => {
    const ids = own.filter((record) => action.statuses.includes(valueOf(record, 'status'))).map(({ id }) => id);
    return ids.length > 0 ? [{ action, ids }] : [];
  });
  const run = async ({ action, ids }: { action: Action; ids: string[] }): Promise<void> => {
    setAsked(null);
    setBusy(true);
    let done = 0;
    const problems = new Set<string>();
    // One after the other: each is a decision of its own, and one that is refused does not stop the rest.
    for (const id of ids)
      await post(`/live/messages/${encodeURIComponent(id)}/${action.verb}`, action.body).then(
        () => (done += 1),
        (error: unknown) => problems.add(messageOf(error)),
      );
    setBusy(false);
    const text = `${messages(done)} ${done === 1 ? 'is' : 'are'} ${action.done}.`;
    if (problems.size === 0) setNotice({ tone: 'good', text });
    else
      setNotice({ tone: 'bad', text: `${text} ${messages(ids.length - done)} could not be changed: ${[...problems].join(' ')}` });
    onDone();
  };
  return (
    <>
      <NoticeLine notice={notice} />
      {records.length > 0 && (
        <div className="cq-line cq-selection" role="group" aria-label="Selected messages">
          <b>{records.length} selected</b>
          {offers.map((offer) => (
            <button
              key={offer.action.label}
              type="button"
              className={offer.action.isDangerous ? 'cq-button cq-danger' : 'cq-button'}
              disabled={isBusy}
              onClick={() => setAsked(offer)}
            >
              {offer.action.label} ({offer.ids.length})
            </button>
          ))}
          {offers.length === 0 && <span className="cq-soft">Nothing can be done with these messages in their states.</span>}
        </div>
      )}
      {asked && (
        <Confirm
          question={`${asked.action.label}: ${messages(asked.ids.length)}?`}
          consequence={asked.action.consequence}
          label={asked.action.label}
          isDangerous={asked.action.isDangerous ?? false}
          onYes={() => void run(asked)}
          onNo={() => setAsked(null)}
        />
      )}
    </>
  );
};
export default MessageSelection;
