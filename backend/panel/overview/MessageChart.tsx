import React, { useState } from 'react';
import {
  BarElement,
  CategoryScale,
  Chart as ChartJs,
  Legend,
  LinearScale,
  Tooltip,
  type ChartData,
  type ChartOptions,
} from 'chart.js';
import { Bar } from 'react-chartjs-2';
import type { Chart } from '../../src/admin/overview.js';
import { usePoll } from '../api.js';
import Panel from '../frame/Panel.js';

ChartJs.defaults.font.family = `'Inter Variable', system-ui, sans-serif`;
ChartJs.register(CategoryScale, LinearScale, BarElement, Tooltip, Legend);

const ranges: [Chart['range'], string][] = [
  ['24h', '24 hours'],
  ['14d', '14 days'],
];
const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const labelOf = ({ range, timezone }: Chart, at: number): string =>
  new Intl.DateTimeFormat(
    'en-GB',
    range === '24h'
      ? { hour: '2-digit', minute: '2-digit', timeZone: timezone }
      : { day: 'numeric', month: 'short', timeZone: timezone },
  ).format(at);

function options(): ChartOptions<'bar'> {
  const ink = colour('--cq-soft');
  const axis = {
    grid: { color: colour('--cq-line') },
    border: { display: false },
    ticks: { color: ink, maxRotation: 0, precision: 0 },
  };
  return {
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    interaction: { mode: 'index', intersect: false },
    plugins: { legend: { position: 'bottom', labels: { color: ink, boxWidth: 12, boxHeight: 12 } } },
    scales: {
      x: { ...axis, stacked: true, grid: { display: false }, ticks: { ...axis.ticks, autoSkipPadding: 14 } },
      y: { ...axis, stacked: true, beginAtZero: true, suggestedMax: 5 },
    },
  };
}

function series(chart: Chart): ChartData<'bar', number[], string> {
  const bar = (label: string, key: 'sent' | 'received' | 'failed', name: string) => ({
    label,
    data: chart.buckets.map((bucket) => bucket[key]),
    backgroundColor: colour(name),
    borderRadius: 3,
    maxBarThickness: 26,
  });
  return {
    labels: chart.buckets.map((bucket) => labelOf(chart, bucket.at)),
    datasets: [bar('Sent', 'sent', '--cq-main'), bar('Received', 'received', '--cq-second'), bar('Failed', 'failed', '--cq-bad')],
  };
}

/** The messages per hour or per day. Screen readers announce the sums. */
const MessageChart: React.FC = () => {
  const [range, setRange] = useState<Chart['range']>('24h');
  const { value, error } = usePoll<Chart>(`/live/chart?range=${range}`, 20_000);
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
      <div
        className="cq-chart"
        role="img"
        aria-label={`In the last ${range === '24h' ? '24 hours' : '14 days'}: ${sum('sent')} sent, ${sum('received')} received, ${sum('failed')} failed.`}
      >
        {value ? <Bar data={series(value)} options={options()} /> : <p className="cq-soft">{error ?? 'Loading …'}</p>}
      </div>
    </Panel>
  );
};
export default MessageChart;
