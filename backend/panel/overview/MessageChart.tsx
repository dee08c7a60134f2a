import React, { useState } from 'react';
import { Bar } from 'react-chartjs-2';
import type { Chart } from '../../src/admin/chart.js';
import { usePoll, zoneQuery } from '../api.js';
import Panel from '../frame/Panel.js';
import FigureTable from '../parts/FigureTable.js';
import { barData, barOptions } from '../parts/chart.js';
import { zoneName } from '../words.js';

const ranges: [Chart['range'], string][] = [
  ['24h', '24 hours'],
  ['14d', '14 days'],
];
const labelOf = ({ range, timezone }: Chart, at: number): string =>
  new Intl.DateTimeFormat(
    'en-GB',
    range === '24h'
      ? { hour: '2-digit', minute: '2-digit', timeZone: timezone }
      : { day: 'numeric', month: 'short', timeZone: timezone },
  ).format(at);

/** The messages per hour or per day as bars. Screen readers announce the sums, and find the figures in a table. */
const MessageChart: React.FC = () => {
  const [range, setRange] = useState<Chart['range']>('24h');
  const { value, error } = usePoll<Chart>(`/live/chart?range=${range}&${zoneQuery()}`, 20_000);
  const sum = (key: 'sent' | 'received' | 'failed'): number =>
    value?.buckets.reduce((total, bucket) => total + bucket[key], 0) ?? 0;
  const switcher = (
    <div className="cq-switch" role="group" aria-label="Range">
      {ranges.map(([name, label]) => (
        <button key={name} type="button" aria-pressed={range === name} onClick={() => setRange(name)}>
          {label}
        </button>
      ))}
    </div>
  );
  return (
    <Panel title={range === '24h' ? 'Messages per hour' : 'Messages per day'} aside={switcher} wide>
      {value && <p className="cq-soft cq-zone">Times of {zoneName(value.timezone)}</p>}
      <div
        className="cq-chart"
        role="img"
        aria-label={`In the last ${range === '24h' ? '24 hours' : '14 days'}: ${sum('sent')} sent, ${sum('received')} received, ${sum('failed')} failed.`}
      >
        {value ? (
          <Bars of={value} isEmpty={sum('sent') + sum('received') + sum('failed') === 0} />
        ) : (
          <p className="cq-soft">{error ?? 'Loading …'}</p>
        )}
      </div>
      {value && (
        <details>
          <summary>Show as a table</summary>
          <FigureTable
            of={range === '24h' ? 'Hour' : 'Day'}
            name="The figures of the chart"
            rows={[...value.buckets].reverse().map((bucket) => ({ ...bucket, key: bucket.at, label: labelOf(value, bucket.at) }))}
          />
        </details>
      )}
    </Panel>
  );
};
export default MessageChart;

/** The bars, or a sentence where there is nothing to draw. */
const Bars: React.FC<{ of: Chart; isEmpty: boolean }> = ({ of, isEmpty }) =>
  isEmpty ? (
    <p className="cq-soft">No messages in the last {of.range === '24h' ? '24 hours' : '14 days'}.</p>
  ) : (
    <Bar
      aria-label="Messages over time, sent, received and failed"
      data={barData(of.buckets, (bucket) => labelOf(of, bucket.at))}
      options={barOptions()}
    />
  );
