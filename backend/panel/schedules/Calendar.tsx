import React, { useEffect, useRef } from 'react';
import type { CalendarItem } from '../../src/admin/views/schedule.js';
import { addDays, addMonths, dayText, monthText, weeksOf } from './days.js';

interface CalendarProps {
  month: string;
  today: string;
  /** The chosen day. */
  day: string;
  items: Record<string, CalendarItem[]>;
  onDay: (day: string) => void;
}

/** The day to which each key moves. */
const steps: Record<string, (day: string) => string> = {
  ArrowLeft: (day) => addDays(day, -1),
  ArrowRight: (day) => addDays(day, 1),
  ArrowUp: (day) => addDays(day, -7),
  ArrowDown: (day) => addDays(day, 7),
  PageUp: (day) => addMonths(day, -1),
  PageDown: (day) => addMonths(day, 1),
};

/** The days of a month with the number of planned messages. Arrow keys move by a day or a week, Page Up and Page Down by a month. */
const Calendar: React.FC<CalendarProps> = ({ month, today, day, items, onDay }) => {
  const chosen = useRef<HTMLButtonElement>(null);
  const isMovedByKey = useRef(false);
  useEffect(() => {
    if (isMovedByKey.current) chosen.current?.focus();
    isMovedByKey.current = false;
  }, [day, month]);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    isMovedByKey.current = true;
    onDay(step(day));
  };
  return (
    <table className="cq-calendar" role="grid" aria-label={monthText(month)} onKeyDown={onKeyDown}>
      <thead>
        <tr>
          {['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'].map((name) => (
            <th key={name} scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {weeksOf(month).map((week) => (
          <tr key={week[0]}>
            {week.map((date) => {
              const count = items[date]?.length ?? 0;
              const isChosen = date === day;
              return (
                <td key={date} role="gridcell" aria-selected={isChosen}>
                  <button
                    type="button"
                    ref={isChosen ? chosen : undefined}
                    tabIndex={isChosen ? 0 : -1}
                    className={date.startsWith(month) ? undefined : 'cq-other'}
                    aria-current={date === today ? 'date' : undefined}
                    aria-label={`${dayText(date)}, ${count === 0 ? 'nothing planned' : `${count} planned`}`}
                    onClick={() => onDay(date)}
                  >
                    <span>{Number(date.slice(8))}</span>
                    {count > 0 && <em>{count}</em>}
                  </button>
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
};
export default Calendar;
