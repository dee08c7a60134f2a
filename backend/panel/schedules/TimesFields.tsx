import React from 'react';
import { usePreview } from '../api.js';
import Field from '../parts/Field.js';
import ZoneField from '../parts/ZoneField.js';
import { momentText } from './days.js';

export interface Times {
  name: string;
  cron: string;
  timezone: string;
}

const examples: [string, string][] = [
  ['0 9 * * *', 'Every day at 09:00'],
  ['0 9 * * 1-5', 'Monday to Friday at 09:00'],
  ['0 9 * * 1', 'Every Monday at 09:00'],
  ['0 9 1 * *', 'The first day of each month at 09:00'],
];

/** The name and the times of a schedule, with the next five times. */
const TimesFields: React.FC<{ fields: Times; set: (changes: Partial<Times>) => void }> = ({ fields, set }) => (
  <>
    <Field label="Name" name="name" hint="For yourself">
      <input value={fields.name} onChange={(event) => set({ name: event.target.value })} required maxLength={100} />
    </Field>
    <Field label="When">
      <select value={fields.cron} onChange={(event) => set({ cron: event.target.value })}>
        {!examples.some(([cron]) => cron === fields.cron) && <option value={fields.cron}>Other times</option>}
        {examples.map(([cron, text]) => (
          <option key={cron} value={cron}>
            {text}
          </option>
        ))}
      </select>
    </Field>
    <Field label="as cron writes it" name="cron" hint="Minute, hour, day, month, day of the week">
      <input value={fields.cron} onChange={(event) => set({ cron: event.target.value })} required minLength={9} maxLength={100} />
    </Field>
    <ZoneField value={fields.timezone} onChange={(timezone) => set({ timezone })} />
    <NextTimes cron={fields.cron} timezone={fields.timezone} />
  </>
);
export default TimesFields;

/** The next five times. The server computes them, shortly after each change. */
const NextTimes: React.FC<{ cron: string; timezone: string }> = ({ cron, timezone }) => {
  const { value, problem } = usePreview<{ next: number[]; timezone: string }>('/live/schedule-preview', { cron, timezone });
  return (
    <div aria-live="polite" data-testid="next-times">
      {problem && <p className="cq-note cq-bad">{problem}</p>}
      {!problem && value && (
        <p className="cq-soft">
          Next: {value.next.map((at) => momentText(at, value.timezone)).join(' · ')} ({value.timezone})
        </p>
      )}
    </div>
  );
};
