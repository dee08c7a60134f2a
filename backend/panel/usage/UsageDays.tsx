import React from 'react';
import { Bar } from 'react-chartjs-2';
import type { UsageView } from '../../src/admin/views/usage-page.js';
import { barData, barOptions } from '../parts/chart.js';
import FigureTable from '../parts/FigureTable.js';
import { count } from '../words.js';

type Days = UsageView['days'];

const dayFormat = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', timeZone: 'UTC' });
const labelOf = ({ date }: Days[number]): string => dayFormat.format(Date.parse(date));

/** The messages of each day as bars, and as a table for those who cannot see the bars. */
const UsageDays: React.FC<{ days: Days }> = ({ days }) => {
  const sum = (key: 'sent' | 'received' | 'failed'): number => days.reduce((total, day) => total + day[key], 0);
  const words = `In ${days.length} days: ${count(sum('sent'))} sent, ${count(sum('received'))} received, ${count(sum('failed'))} failed.`;
  return (
    <>
      <div className="cq-chart" role="img" aria-label={words}>
        <Bar aria-label="Messages of each day, sent, received and failed" data={barData(days, labelOf)} options={barOptions()} />
      </div>
      <details>
        <summary>Show as a table</summary>
        <FigureTable
          of="Day"
          name="The figures of the chart"
          rows={[...days].reverse().map((day) => ({ ...day, key: day.date, label: day.date }))}
        />
      </details>
    </>
  );
};
export default UsageDays;
