import React from 'react';
import type { SchedulesView } from '../../src/admin/views/schedule.js';
import ActionButton from '../parts/ActionButton.js';
import Badge from '../parts/Badge.js';
import Empty from '../parts/Empty.js';
import type { Notice } from '../parts/NoticeLine.js';
import { personText, type Tone } from '../words.js';
import ChangeTimes from './ChangeTimes.js';
import { momentText } from './days.js';

const words: Record<string, [string, Tone]> = {
  active: ['Active', 'good'],
  paused: ['Paused', 'warn'],
  ended: ['Ended', 'idle'],
};

interface ScheduleListProps {
  schedules: SchedulesView['schedules'];
  timezone: string;
  onNotice: (notice: Notice) => void;
}

/** The recurring schedules, each with its next time and its actions. */
const ScheduleList: React.FC<ScheduleListProps> = ({ schedules, timezone, onNotice }) => {
  if (schedules.length === 0)
    return (
      <Empty title="No recurring schedules">
        <p>
          Create one here, or with <code>POST /api/v1/schedules</code>.
        </p>
      </Empty>
    );
  const notify = (text: string) => ({
    onDone: () => onNotice({ tone: 'good', text }),
    onError: (problem: string) => onNotice({ tone: 'bad', text: problem }),
  });
  return (
    <ul className="cq-list cq-plans" data-testid="schedules">
      {schedules.map((schedule) => {
        const [word, tone] = words[schedule.status] ?? [schedule.status, 'idle'];
        const path = `/live/schedules/${schedule.id}`;
        return (
          <li key={schedule.id}>
            <span>
              <strong>{schedule.name}</strong> <Badge tone={tone}>{word}</Badge>
              <small>
                {schedule.type} to <span title={schedule.recipient}>{personText(schedule.recipientName)}</span>, by{' '}
                {schedule.session.name ?? 'a deleted session'} · <code>{schedule.cron}</code> {schedule.timezone}
              </small>
              <small>
                {schedule.nextAt ? `Next ${momentText(schedule.nextAt, timezone)}. ` : ''}
                {schedule.occurrences} so far{schedule.missed > 0 ? `, ${schedule.missed} missed` : ''}.
              </small>
              {schedule.reason && <small>{schedule.reason.message}</small>}
            </span>
            <span className="cq-line">
              {schedule.status === 'active' ? (
                <ActionButton label="Pause" path={`${path}/pause`} {...notify('Paused.')} />
              ) : (
                <ActionButton label="Resume" path={`${path}/resume`} {...notify('It continues with the next time.')} />
              )}
              <ChangeTimes
                key={`${schedule.cron} ${schedule.timezone} ${schedule.name}`}
                id={schedule.id}
                from={{ name: schedule.name, cron: schedule.cron, timezone: schedule.timezone }}
                onDone={() => onNotice({ tone: 'good', text: 'Changed.' })}
              />
              <ActionButton
                label="Delete"
                path={`${path}/delete`}
                tone="danger"
                question={`Delete the schedule ${schedule.name}?`}
                consequence="Messages that it has made stay."
                {...notify('Deleted.')}
              />
            </span>
          </li>
        );
      })}
    </ul>
  );
};
export default ScheduleList;
