import React, { useState } from 'react';
import type { SessionView } from '../../src/admin/views/session.js';
import { post } from '../api.js';
import { useForm } from '../hooks.js';
import ActionButton from '../parts/ActionButton.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import type { Notice } from '../parts/NoticeLine.js';
import ZoneField from '../parts/ZoneField.js';
import { exactText } from '../words.js';

const dayNames = { mon: 'Mon', tue: 'Tue', wed: 'Wed', thu: 'Thu', fri: 'Fri', sat: 'Sat', sun: 'Sun' } as const;
type Day = keyof typeof dayNames;
const allDays = Object.keys(dayNames) as Day[];

/** When a session sends nothing, and how much a new number sends a day. */
const SessionTimes: React.FC<{ session: SessionView; onNotice: (notice: Notice) => void }> = ({ session, onNotice }) => {
  const { quietHours, quietUntil, timezone, warmUp } = session.limits;
  const path = `/live/sessions/${session.id}/limits`;
  const done = (): void => onNotice({ tone: 'good', text: 'Changed. It applies at once.' });
  const failed = (text: string): void => onNotice({ tone: 'bad', text });
  const [days, setDays] = useState<Day[]>(quietHours?.days ?? allDays);
  const quiet = useForm({ from: quietHours?.from ?? '21:00', to: quietHours?.to ?? '08:00', timezone }, async (fields) => {
    const named = days.length < allDays.length ? { days } : {};
    await post(path, { quietHours: { from: fields.from, to: fields.to, ...named }, timezone: fields.timezone });
    done();
  });
  const today = new Date().toISOString().slice(0, 10);
  const plan = useForm(warmUp ?? { startedOn: today, messagesPerDay: 20, growth: 1.5 }, async (fields) => {
    await post(path, { warmUp: fields });
    done();
  });
  const isChosen = (day: Day): boolean => days.includes(day);
  const toggle = (day: Day): void => setDays(allDays.filter((one) => (one === day ? !isChosen(one) : isChosen(one))));
  return (
    <div className="cq-stack" data-testid="session-times">
      <p className="cq-soft">
        {quietHours ? `No messages from ${quietHours.from} to ${quietHours.to}. Urgent ones pass.` : 'No quiet hours.'}{' '}
        {quietUntil && <strong>Quiet now, until {exactText(quietUntil)}.</strong>}
      </p>
      <Form form={quiet} label="Set quiet hours" testId="quiet-hours">
        <div className="cq-line">
          <Field label="From" name="quietHours.from">
            <input type="time" required value={quiet.fields.from} onChange={(event) => quiet.set({ from: event.target.value })} />
          </Field>
          <Field label="To" name="quietHours.to">
            <input type="time" required value={quiet.fields.to} onChange={(event) => quiet.set({ to: event.target.value })} />
          </Field>
        </div>
        <fieldset className="cq-days">
          <legend>Days on which they begin</legend>
          {allDays.map((day) => (
            <label key={day}>
              <input type="checkbox" checked={isChosen(day)} onChange={() => toggle(day)} /> {dayNames[day]}
            </label>
          ))}
        </fieldset>
        <ZoneField value={quiet.fields.timezone} onChange={(timezone) => quiet.set({ timezone })} />
      </Form>
      {quietHours && (
        <ActionButton label="Remove quiet hours" path={path} body={{ quietHours: null }} onDone={done} onError={failed} />
      )}
      <p className="cq-soft">
        {warmUp
          ? `Warm-up since ${warmUp.startedOn}: ${warmUp.messagesPerDay} messages on the first day, times ${warmUp.growth} each day.`
          : 'No warm-up plan. A new number should not send many messages on its first days.'}
      </p>
      <Form form={plan} label="Set warm-up plan" testId="warm-up">
        <div className="cq-line">
          <Field label="First day" name="warmUp.startedOn">
            <input
              type="date"
              required
              value={plan.fields.startedOn}
              onChange={(event) => plan.set({ startedOn: event.target.value })}
            />
          </Field>
          <Field label="Messages" name="warmUp.messagesPerDay">
            <input
              type="number"
              min={1}
              required
              value={plan.fields.messagesPerDay}
              onChange={(event) => plan.set({ messagesPerDay: Number(event.target.value) })}
            />
          </Field>
          <Field label="Growth a day" name="warmUp.growth">
            <input
              type="number"
              min={1}
              max={10}
              step={0.1}
              required
              value={plan.fields.growth}
              onChange={(event) => plan.set({ growth: Number(event.target.value) })}
            />
          </Field>
        </div>
      </Form>
      {warmUp && <ActionButton label="Remove warm-up plan" path={path} body={{ warmUp: null }} onDone={done} onError={failed} />}
    </div>
  );
};
export default SessionTimes;
