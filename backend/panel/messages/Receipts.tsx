import React, { useState } from 'react';
import type { MessageView } from '../../src/admin/views/message.js';
import ActionButton from '../parts/ActionButton.js';
import Ago from '../parts/Ago.js';
import Facts from '../parts/Facts.js';

interface Receipt {
  contact: { id: string; phone: string | null; name: string | null };
  at: string | null;
}
interface Answer {
  delivered: Receipt[];
  read: Receipt[];
  played: Receipt[];
  remaining: { delivered: number; read: number; played: number };
}

const People: React.FC<{ of: Receipt[]; remaining: number }> = ({ of, remaining }) => (
  <>
    {of.map(({ contact, at }) => (
      <div key={contact.id}>
        {contact.name ?? contact.phone ?? contact.id} {at && <Ago at={Date.parse(at)} />}
      </div>
    ))}
    {remaining > 0 && <small>{`${remaining} more ${remaining === 1 ? 'has' : 'have'} not`}</small>}
    {of.length === 0 && remaining === 0 && <small>no recipient yet</small>}
  </>
);

/** Asks WhatsApp on a click: the page itself never waits for a worker. */
const Receipts: React.FC<{ message: MessageView }> = ({ message }) => {
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  return (
    <div data-testid="receipts">
      <ActionButton
        label="Ask WhatsApp"
        path={`/live/messages/${message.id}/receipts`}
        onDone={(given) => {
          setAnswer(given as Answer);
          setProblem(null);
        }}
        onError={setProblem}
      />
      {problem && <p role="alert">{problem}</p>}
      {answer && (
        <Facts
          of={[
            ['Delivered', <People of={answer.delivered} remaining={answer.remaining.delivered} />],
            ['Read', <People of={answer.read} remaining={answer.remaining.read} />],
            ['Played', answer.played.length > 0 ? <People of={answer.played} remaining={answer.remaining.played} /> : null],
          ]}
        />
      )}
    </div>
  );
};
export default Receipts;
