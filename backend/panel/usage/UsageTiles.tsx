import React from 'react';
import type { UsageView } from '../../src/admin/views/usage-page.js';
import { count, type Tone } from '../words.js';

const percent = (rate: number | null): string => (rate === null ? '–' : `${(rate * 100).toFixed(1)} %`);

function durationText(seconds: number | null): string {
  if (seconds === null) return '–';
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

/** The figures of the range. */
const UsageTiles: React.FC<{ report: UsageView['report'] }> = ({ report }) => {
  const { responses, cost } = report;
  const tiles: [label: string, value: string, hint: string, tone?: Tone | undefined][] = [
    ['Sent', count(report.sent), 'accepted by WhatsApp'],
    ['Received', count(report.received), 'from people and groups'],
    ['Failed', count(report.failed), 'not sent', report.failed > 0 ? 'bad' : undefined],
    ['Delivered', percent(report.deliveryRate), 'of those sent'],
    ['Read', percent(report.readRate), 'of those sent'],
    ['Time to answer', durationText(responses.meanSeconds), `mean of ${count(responses.count)}`],
    ...(Number(cost.amount) > 0
      ? [['Cost', cost.amount, cost.currency ?? 'by the plans’ prices'] as [string, string, string]]
      : []),
  ];
  return (
    <div className="cq-tiles">
      {tiles.map(([label, value, hint, tone]) => (
        <div key={label} className={tone ? `cq-tile cq-${tone}` : 'cq-tile'}>
          <span>{label}</span>
          <strong>{value}</strong>
          <small>{hint}</small>
        </div>
      ))}
    </div>
  );
};
export default UsageTiles;
