import React from 'react';
import { count } from '../words.js';

const weekdays = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const hourText = (hour: number): string => `${String(hour).padStart(2, '0')}:00`;

/** Sent and received messages by weekday and hour: the busier an hour, the stronger its colour. Each cell says its number. */
const UsageHours: React.FC<{ hours: number[][] }> = ({ hours }) => {
  const most = Math.max(1, ...hours.flat());
  return (
    <div className="cq-scroll" tabIndex={0} role="group" aria-label="Messages by weekday and hour">
      <table className="cq-heat">
        <thead>
          <tr>
            <td />
            {hours[0]!.map((_, hour) => (
              <th key={hour} scope="col" aria-label={hourText(hour)}>
                {hour % 3 === 0 ? hour : ''}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {hours.map((row, weekday) => (
            <tr key={weekday}>
              <th scope="row">{weekdays[weekday]!.slice(0, 3)}</th>
              {row.map((value, hour) => (
                <td key={hour} title={`${weekdays[weekday]}, ${hourText(hour)}: ${count(value)}`}>
                  <i style={{ opacity: value === 0 ? 0 : 0.15 + (0.85 * value) / most }} aria-hidden="true" />
                  <span className="cq-unseen">{count(value)}</span>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
};
export default UsageHours;
