import React, { useState } from 'react';
import { Link } from 'react-router-dom';
import type { CalendarItem, SchedulesView } from '../../src/admin/views/schedule.js';
import { root } from '../api.js';
import Page from '../frame/Page.js';
import PageHead from '../frame/PageHead.js';
import Panel from '../frame/Panel.js';
import { useRecord } from '../hooks.js';
import LiveState from '../parts/LiveState.js';
import NoticeLine from '../parts/NoticeLine.js';
import Calendar from './Calendar.js';
import { addMonths, dayText, monthOf, monthText, timeText } from './days.js';
import NewSchedule from './NewSchedule.js';
import ScheduleList from './ScheduleList.js';
import WaitingList from './WaitingList.js';

/** What is planned: a month as a calendar, the scheduled messages, and the recurring schedules. */
const SchedulesPage: React.FC = () => {
  const [day, setDay] = useState<string | null>(null);
  const [isNew, setNew] = useState(false);
  const [shown, setShown] = useState<SchedulesView | null>(null);
  const path = day ? `/live/schedules?month=${monthOf(day)}` : '/live/schedules';
  const record = useRecord<SchedulesView>(path, 5_000);
  const { value, error, notice, notify } = record;
  // The calendar stays while the next month is loaded, so that the focus of the keyboard is not lost.
  if (value && value !== shown) setShown(value);
  const view = value ?? shown;
  if (!view)
    return (
      <Page>
        <PageHead title="Schedules" below={error ?? 'Loading …'} />
      </Page>
    );
  const chosen = day ?? view.today;
  const items = view.month === monthOf(chosen) ? view.days : {};
  return (
    <Page testId="schedules-page">
      <PageHead title="Schedules" below={<LiveState of={record} text={`Live, times of ${view.timezone}`} />} />
      <NoticeLine notice={notice} />
      <div className="cq-columns">
        <div>
          <MonthPanel day={chosen} today={view.today} items={items} timezone={view.timezone} onDay={setDay} />
        </div>
        <div>
          <Panel title="Scheduled messages">
            <WaitingList messages={view.messages} timezone={view.timezone} onNotice={notify} />
          </Panel>
          <Panel title="Recurring schedules">
            <div className="cq-rows">
              {isNew ? (
                <NewSchedule
                  onCancel={() => setNew(false)}
                  onDone={() => {
                    setNew(false);
                    notify({ tone: 'good', text: 'Created.' });
                  }}
                />
              ) : (
                <button type="button" className="cq-button" onClick={() => setNew(true)}>
                  New schedule
                </button>
              )}
              <ScheduleList schedules={view.schedules} timezone={view.timezone} onNotice={notify} />
            </div>
          </Panel>
        </div>
      </div>
    </Page>
  );
};
export default SchedulesPage;

interface MonthPanelProps {
  /** The chosen day, whose month is shown. */
  day: string;
  today: string;
  items: Record<string, CalendarItem[]>;
  timezone: string;
  onDay: (day: string) => void;
}

/** A month as a calendar, and the planned messages of the chosen day. */
const MonthPanel: React.FC<MonthPanelProps> = ({ day, today, items, timezone, onDay }) => {
  const month = monthOf(day);
  const planned = items[day] ?? [];
  return (
    <Panel title={monthText(month)}>
      <div className="cq-line">
        <button type="button" className="cq-button" onClick={() => onDay(addMonths(day, -1))}>
          Month before
        </button>
        <button type="button" className="cq-button" onClick={() => onDay(today)}>
          Today
        </button>
        <button type="button" className="cq-button" onClick={() => onDay(addMonths(day, 1))}>
          Month after
        </button>
      </div>
      <Calendar month={month} today={today} day={day} items={items} onDay={onDay} />
      <h3 aria-live="polite">{dayText(day)}</h3>
      {planned.length === 0 && <p className="cq-soft">Nothing planned.</p>}
      <ul className="cq-list">
        {planned.map((item) => (
          <li key={`${item.id} ${item.at}`}>
            {item.kind === 'message' ? (
              <Link to={`${root}/resources/messages/records/${item.id}/show`}>{item.label}</Link>
            ) : (
              <span>{item.label} (recurring)</span>
            )}
            <time>{timeText(item.at, timezone)}</time>
          </li>
        ))}
      </ul>
    </Panel>
  );
};
