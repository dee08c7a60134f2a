/** One line of the text format of Prometheus. */
export interface Point {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Parses the text that `GET /metrics` answers. Throws for a line that Prometheus would refuse. */
export function parseExposition(text: string): Point[] {
  return text.split('\n').flatMap((line) => {
    if (line === '' || line.startsWith('#')) return [];
    const [, name, inner = '', value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
    if (name === undefined || Number.isNaN(Number(value?.replace('+Inf', 'Infinity')))) throw new Error(`Not a metric: ${line}`);
    const labels = Object.fromEntries([...inner.matchAll(/([a-z_]{1,40})="([^"]*)"/g)].map(([, label, text]) => [label!, text!]));
    return [{ name, labels, value: Number(value) }];
  });
}

/** The value of the one point with this name and these labels; null if there is none. */
export function valueOf(points: readonly Point[], name: string, labels: Record<string, string> = {}): number | null {
  const wanted = JSON.stringify(Object.entries(labels).sort());
  return (
    points.find((point) => point.name === name && JSON.stringify(Object.entries(point.labels).sort()) === wanted)?.value ?? null
  );
}

/** The name of the metric to which a point belongs: histograms have several points. */
export const metricOf = ({ name, labels }: Point, histograms: ReadonlySet<string>): string => {
  const base = name.replace(/_(bucket|sum|count)$/, '');
  return histograms.has(base) && (name !== `${base}_bucket` || 'le' in labels) ? base : name;
};
