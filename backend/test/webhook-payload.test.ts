import { expect, test } from '@jest/globals';
import { AppError } from '@chasqui/shared';
import fc from 'fast-check';
import { bodyOf, maxFilledBytes, requireTransform, testEvent, type OutgoingEvent } from '../src/webhooks/payload.js';
import { requestOf } from '../src/webhooks/send/request.js';
import type { Webhook, WebhookTransform } from '../src/webhooks/webhook.entity.js';

const told = (data: Record<string, unknown>): OutgoingEvent => ({ ...testEvent(new Date(0)), data });
const made = (transform: WebhookTransform, data: Record<string, unknown>) =>
  bodyOf(told(data), { types: {}, includeContent: true, transform });
const codeOf = (work: () => unknown): string | null => {
  try {
    work();
    return null;
  } catch (error) {
    return error instanceof AppError ? error.code : String(error);
  }
};

/** Templates whose cost multiplies: one placeholder many times, many different paths into one value, in texts, lists and fields. */
const bombs: [string, WebhookTransform, Record<string, unknown>][] = [
  ['one placeholder, many times', { template: Array(2_700).fill('{{data}}') }, { text: 'x'.repeat(60_000) }],
  ['the same in one text', { template: '{{data.text}}'.repeat(2_000) }, { text: '"'.repeat(60_000) }],
  ['an object in a text', { template: '{{data}} '.repeat(3_000) }, { text: '\\"'.repeat(30_000) }],
  ['control characters', { template: '{{data.text}}{{data.text}}'.repeat(300) }, { text: '\u0001'.repeat(60_000) }],
  [
    'many paths into nested values',
    { template: Array.from({ length: 90 }, (_, n) => `{{data${'.a'.repeat(n)}}}`) },
    { a: nested(90, 'x'.repeat(60_000)) },
  ],
  [
    'many fields',
    { fields: Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`f${n}`, 'data.text'])) },
    { text: 'é'.repeat(60_000) },
  ],
];
function nested(depth: number, text: string): unknown {
  let value: unknown = text;
  for (let n = 0; n < depth; n += 1) value = { a: value };
  return value;
}

test.each(bombs)('a transformation that multiplies is refused before it costs anything: %s', (_what, transform, data) => {
  requireTransform(transform);
  const heap = process.memoryUsage().heapUsed;
  const began = process.cpuUsage();
  expect(codeOf(() => made(transform, data))).toBe('TRANSFORM_INVALID');
  const { user } = process.cpuUsage(began);
  expect(user / 1_000).toBeLessThan(100);
  expect(process.memoryUsage().heapUsed - heap).toBeLessThan(60_000_000);
});

test('a transformation just below the bound is made, quickly', () => {
  const text = 'x'.repeat(Math.floor(maxFilledBytes / 10) - 2);
  const began = process.cpuUsage();
  const { body } = made({ template: Array(10).fill('{{data.text}}') }, { text });
  expect(process.cpuUsage(began).user / 1_000).toBeLessThan(100);
  expect(body.length).toBeGreaterThan(maxFilledBytes - 100);
  expect(codeOf(() => made({ template: Array(11).fill('{{data.text}}') }, { text }))).toBe('TRANSFORM_INVALID');
});

test('whatever the template and the event are, a body is at most as large as the bound and the template, or it is refused', () => {
  const part = fc.oneof(fc.constantFrom('{{data}}', '{{ data.a }}', '{{data.b[0]}}', '{{session}}', '{{id}}'), fc.string());
  const template = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: 'small' },
      fc.array(part, { maxLength: 20 }).map((parts) => parts.join('')),
      fc.array(tie('node'), { maxLength: 6 }),
      fc.dictionary(fc.string(), tie('node'), { maxKeys: 6 }),
    ),
  })).node;
  fc.assert(
    fc.property(template, fc.string(), fc.integer({ min: 1, max: 20_000 }), (form, text, times) => {
      const transform = { template: form };
      if (codeOf(() => requireTransform(transform)) !== null) return;
      const data = { a: text.repeat(times), b: [text] };
      const code = codeOf(() => {
        const { body } = made(transform, data);
        expect(Buffer.byteLength(body)).toBeLessThanOrEqual(maxFilledBytes + 32_768);
      });
      expect([null, 'TRANSFORM_INVALID']).toContain(code);
    }),
    { numRuns: 300 },
  );
});

test('a new name is either refused or fits a header as it is; an earlier name is encoded', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constant('Nachricht – empfangen')), (name) => {
      const transform = { rename: { test: name } };
      const isSaved = codeOf(() => requireTransform(transform)) === null;
      const webhook = { types: {}, includeContent: true, transform } as unknown as Webhook;
      const opened = { secrets: ['whsec_MDEyMzQ1Njc4OWFiY2RlZg=='], headers: {} };
      const { headers } = requestOf(webhook, { id: 'd', attempts: 0 }, told({}), opened, new Date(0));
      expect(headers['x-webhook-event']).toMatch(/^[\x20-\x7e]*$/);
      if (isSaved) expect(headers['x-webhook-event']).toBe(name);
    }),
  );
});
