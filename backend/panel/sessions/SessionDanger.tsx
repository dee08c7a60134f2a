import React, { useEffect, useState } from 'react';
import { useNavigate } from 'react-router-dom';
import type { SessionView } from '../../src/admin/views/session.js';
import { root } from '../api.js';
import { posting, useForm } from '../hooks.js';
import ActionButton from '../parts/ActionButton.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';
import { phoneText } from '../words.js';

/** Renames and deletes a session. */
const SessionDanger: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const navigate = useNavigate();
  const path = `/live/sessions/${session.id}`;
  const form = useForm(
    { name: session.name },
    posting(`${path}/rename`, () => onNotice({ tone: 'good', text: 'Renamed. Programs address the session by the new name.' })),
  );
  const [name, setName] = useState(session.name);
  useEffect(() => setName(session.name), [session.name]);
  useEffect(() => form.set({ name }), [name]);
  return (
    <div className="cq-stack">
      <Form form={form} label="Rename" testId="rename">
        <Field label="Name" name="name" hint="Programs that use the old name are refused after the change.">
          <input
            value={name}
            onChange={(event) => setName(event.target.value)}
            required
            pattern="[\-_A-Za-z0-9]{1,64}"
            autoComplete="off"
          />
        </Field>
      </Form>
      <ActionButton
        label="Delete session"
        path={`${path}/delete`}
        tone="danger"
        question={`Delete the session ${session.name}?`}
        consequence={`Its phone ${session.phoneNumber ? `${phoneText(session.phoneNumber)} ` : ''}is unlinked, its login and its keys are deleted, and messages that wait fail. Its history stays. This cannot be undone.`}
        onDone={() => navigate(`${root}/resources/sessions`)}
        onError={(text) => onNotice({ tone: 'bad', text })}
      />
    </div>
  );
};
export default SessionDanger;
