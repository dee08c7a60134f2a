import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { metricTable } from '@chasqui/shared';
import { root } from '../lib/paths.mjs';

/** The files of docs/operations and docs/reference/metrics.md, compared with the table of metrics. */

const rows = Object.entries(metricTable);
const readText = (path) => readFileSync(join(root, path), 'utf8');
/** Every series that Prometheus stores, with its labels. */
const series = new Map(
  rows.flatMap(([name, { kind, labels }]) =>
    kind === 'histogram'
      ? [
          [`${name}_bucket`, [...labels, 'le']],
          [`${name}_sum`, labels],
          [`${name}_count`, labels],
        ]
      : [[name, labels]],
  ),
);
/** Set by Prometheus. */
const ofPrometheus = ['job', 'instance'];

const { groups } = load(readText('docs/operations/alerts.yml'));
const rules = groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(readText('docs/operations/grafana-dashboard.json'));
const expressions = [
  ...rules.map(({ alert, expr, annotations }) => [alert, expr, annotations.summary.replace(/\$labels\.|\$value/g, '')]),
  ...dashboard.panels.flatMap(({ title, targets }) => targets.map(({ expr, legendFormat }) => [title, expr, legendFormat])),
];

describe('docs/operations', () => {
  test('every alert and every panel of the dashboard uses metrics that exist, and their labels', () => {
    expect(rules.length).toBeGreaterThan(8);
    expect(dashboard.panels.length).toBeGreaterThan(10);
    for (const [where, expr, shown] of expressions) {
      const used = [...expr.matchAll(/\b((?:chasqui|process|nodejs)_[a-z0-9_]+)(?:\{([^}]*)\})?/g)];
      if (!expr.startsWith('up{')) expect([where, used.length]).not.toEqual([where, 0]);
      expect([where, used.map(([, name]) => name).filter((name) => !series.has(name))]).toEqual([where, []]);
      const known = new Set([...used.flatMap(([, name]) => series.get(name) ?? []), ...ofPrometheus]);
      const grouped = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names]) => names.split(',').map((name) => name.trim()));
      const matched = used.flatMap(([, , labels = '']) => labels.split(',').map((matcher) => matcher.split(/[!=]/)[0].trim()));
      const legend = [...shown.matchAll(/\{\{ ?([a-z_]+) ?\}\}/g)].map(([, name]) => name);
      expect([where, [...grouped, ...matched, ...legend].filter((name) => name !== '' && !known.has(name))]).toEqual([where, []]);
    }
  });

  test('an alert names its severity and what to do', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const rule of rules)
      expect(rule).toMatchObject({
        alert: expect.stringMatching(/^Chasqui[A-Z]\w+$/),
        for: expect.stringMatching(/^\d+[mh]$/),
        labels: { severity: expect.stringMatching(/^(critical|warning)$/) },
        annotations: { summary: expect.any(String), action: expect.stringMatching(/\.$/) },
      });
  });

  test('the reference documents every metric', () => {
    const named = [...readText('docs/reference/metrics.md').matchAll(/^### `([a-z0-9_]+)`$/gm)].map(([, name]) => name);
    expect(named.sort()).toEqual(rows.map(([name]) => name).sort());
  });
});
