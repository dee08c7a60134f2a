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

/** Stacked bars of sent, received and failed messages, in the colours of the theme. */

ChartJs.defaults.font.family = `'Inter Variable', system-ui, sans-serif`;
ChartJs.register(CategoryScale, LinearScale, BarElement, Tooltip, Legend);

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function barOptions(): ChartOptions<'bar'> {
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

interface Bucket {
  sent: number;
  received: number;
  failed: number;
}

export function barData<B extends Bucket>(
  buckets: readonly B[],
  labelOf: (bucket: B) => string,
): ChartData<'bar', number[], string> {
  const bar = (label: string, key: keyof Bucket, name: string) => ({
    label,
    data: buckets.map((bucket) => bucket[key]),
    backgroundColor: colour(name),
    borderRadius: 3,
    maxBarThickness: 26,
  });
  return {
    labels: buckets.map(labelOf),
    datasets: [bar('Sent', 'sent', '--cq-main'), bar('Received', 'received', '--cq-second'), bar('Failed', 'failed', '--cq-bad')],
  };
}
