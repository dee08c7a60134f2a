import React, { useEffect } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import FigureLimit from '../parts/FigureLimit.js';
import Form from '../parts/Form.js';
import Meter from '../parts/Meter.js';
import type { Notice } from '../parts/NoticeLine.js';
import { count } from '../words.js';

interface SessionLimitsProps {
  session: SessionView;
  onNotice: (notice: Notice) => void;
}

/** The messages of a session today, its daily limit, and its storage mode. */
const SessionLimits: React.FC<SessionLimitsProps> = (props) => {
  const { today, dailyLimit } = props.session.limits;
  return (
    <div className="cq-stack">
      <Meter
        label="Messages today"
        value={today}
        of={dailyLimit}
        text={dailyLimit ? `${count(today)} of ${count(dailyLimit)}` : count(today)}
      />
      <DailyLimit {...props} />
      <StorageMode {...props} />
    </div>
  );
};
export default SessionLimits;

const changed: Notice = { tone: 'good', text: 'Changed. It applies from the next message.' };

const DailyLimit: React.FC<SessionLimitsProps> = ({ session, onNotice }) => (
  <FigureLimit
    label="Limit a day"
    name="dailyLimit"
    value={session.limits.dailyLimit}
    save={async (dailyLimit) => {
      await post(`/live/sessions/${session.id}/limits`, { dailyLimit });
      onNotice(changed);
    }}
  />
);

const StorageMode: React.FC<SessionLimitsProps> = ({ session, onNotice }) => {
  const present: string = session.limits.storage;
  const form = useForm({ storage: present }, async (fields) => {
    await post(`/live/sessions/${session.id}/limits`, fields);
    onNotice(changed);
  });
  const { fields, set } = form;
  useEffect(() => set({ storage: present }), [present]);
  return (
    <Form form={form} label="Set" look="line">
      <Field label="Stored of messages" name="storage">
        <select aria-label="Stored of messages" value={fields.storage} onChange={(event) => set({ storage: event.target.value })}>
          <option value="full">everything</option>
          <option value="metadata">who and when, no content</option>
        </select>
      </Field>
    </Form>
  );
};
