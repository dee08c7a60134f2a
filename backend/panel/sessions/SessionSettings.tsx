import React from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { posting, useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';

type Settings = SessionView['settings'];

interface Fields extends Omit<Settings, 'rejectCalls' | 'recycleAboveMb'> {
  rejects: boolean;
  answer: string;
  /** Empty: the installation's mark. */
  memory: string;
}

const fieldsOf = ({ rejectCalls, recycleAboveMb, ...rest }: Settings): Fields => ({
  ...rest,
  rejects: rejectCalls.enabled,
  answer: rejectCalls.message ?? '',
  memory: recycleAboveMb === null ? '' : String(recycleAboveMb),
});

const bodyOf = ({ rejects, answer, memory, ...rest }: Fields) => ({
  ...rest,
  rejectCalls: { enabled: rejects, message: answer.trim() === '' ? null : answer },
  recycleAboveMb: memory === '' ? null : Number(memory),
});

/** What a session does by itself: with messages, stories and calls that arrive, and with its browser. */
const SessionSettings: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const save = posting(`/live/sessions/${session.id}/settings`, () =>
    onNotice({ tone: 'good', text: 'Saved. The settings apply within a few seconds.' }),
  );
  const form = useForm(fieldsOf(session.settings), (fields) => save(bodyOf(fields)));
  const { fields, set, problems } = form;
  return (
    <Form form={form} label="Save settings" testId="session-settings">
      <label>
        Mark messages as seen <small className="cq-soft">once they are recorded; WhatsApp marks whole chats</small>
        <select value={fields.autoRead} onChange={(event) => set({ autoRead: event.target.value as Settings['autoRead'] })}>
          <option value="off">never</option>
          <option value="private">those of private chats</option>
          <option value="all">those of private chats and groups</option>
        </select>
        <Problem of={problems['autoRead']} id="problem-autoRead" />
      </label>
      <Check label="Record stories of others" isOn={fields.stories} onChange={(stories) => set({ stories })} />
      <Check label="Reject incoming calls" isOn={fields.rejects} onChange={(rejects) => set({ rejects })} />
      <label>
        Answer to a rejected call <small className="cq-soft">empty: none</small>
        <textarea
          value={fields.answer}
          onChange={(event) => set({ answer: event.target.value })}
          rows={2}
          disabled={!fields.rejects}
          aria-invalid={problems['rejectCalls.message'] !== undefined}
          aria-describedby="problem-answer"
        />
        <Problem of={problems['rejectCalls.message']} id="problem-answer" />
      </label>
      <Check
        label="Start a lost browser again"
        isOn={fields.autoReconnect}
        onChange={(autoReconnect) => set({ autoReconnect })}
      />
      <label>
        Restart an idle browser above <small className="cq-soft">MB; empty: the installation’s mark; 0: never</small>
        <input
          type="number"
          min={0}
          step={1}
          value={fields.memory}
          onChange={(event) => set({ memory: event.target.value })}
          aria-invalid={problems['recycleAboveMb'] !== undefined}
          aria-describedby="problem-memory"
        />
        <Problem of={problems['recycleAboveMb']} id="problem-memory" />
      </label>
    </Form>
  );
};
export default SessionSettings;

const Check: React.FC<{ label: string; isOn: boolean; onChange: (isOn: boolean) => void }> = ({ label, isOn, onChange }) => (
  <label className="cq-check">
    <input type="checkbox" checked={isOn} onChange={(event) => onChange(event.target.checked)} />
    <span>{label}</span>
  </label>
);

/** The error of one field. */
const Problem: React.FC<{ of: string | undefined; id: string }> = ({ of, id }) => (
  <small className="cq-field-problem" id={id} role={of ? 'alert' : undefined}>
    {of}
  </small>
);
