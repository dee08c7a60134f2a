import { afterEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createRequestSlots, unknownWeight, weightOf, type Slot } from '../src/webhooks/send/request-slots.js';
import { Webhook } from '../src/webhooks/webhook.entity.js';
import { updateRows } from '../src/db/rows.js';
import { testEvent } from '../src/webhooks/payload.js';
import { eventually } from './support/eventually.js';
import { numbers, startLanes, type Lanes } from './support/lanes.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('room for webhook requests', () => {
  test('is never exceeded in all or by one account, and every request is admitted', async () => {
    const request = fc.record({ account: fc.constantFrom('a', 'b', 'c'), weight: fc.integer({ min: 1, max: 30 }) });
    const property = fc.asyncProperty(
      fc.integer({ min: 2, max: 40 }),
      fc.array(request, { minLength: 1, maxLength: 60 }),
      async (units, requests) => {
        const slots = createRequestSlots(units);
        const inside: { account: string; weight: number; slot: Slot }[] = [];
        let entered = 0;
        for (const { account, weight } of requests)
          void slots.enter(account, weight).then((slot) => {
            entered += 1;
            inside.push({ account, slot, weight: Math.min(weight, Math.max(1, Math.floor(units / 2))) });
          });
        while (entered < requests.length || inside.length > 0) {
          await turn();
          // No request runs and none is admitted: one would wait forever.
          expect(inside.length).toBeGreaterThan(0);
          const sum = (list: typeof inside): number => list.reduce((total, { weight }) => total + weight, 0);
          expect(sum(inside)).toBeLessThanOrEqual(units);
          for (const account of ['a', 'b', 'c'])
            expect(sum(inside.filter((one) => one.account === account))).toBeLessThanOrEqual(Math.max(1, units / 2));
          const one = inside.shift()!;
          one.slot.leave();
          one.slot.leave();
        }
      },
    );
    await fc.assert(property, { numRuns: 200 });
  });

  test('is there for another account while the requests of one hang, and a large one is not passed for ever', async () => {
    const slots = createRequestSlots(10);
    const order: string[] = [];
    const enter = (account: string, weight: number) => slots.enter(account, weight).then((slot) => (order.push(account), slot));
    const hanging = await Promise.all(Array.from({ length: 5 }, () => enter('hangs', 1)));
    void enter('hangs', 1);
    const small = await Promise.all([enter('other', 1), enter('other', 1)]);
    void enter('large', 5);
    await turn();
    const later = enter('small', 1);
    await turn();
    expect(order.filter((account) => account === 'large' || account === 'small')).toEqual([]);
    for (const slot of small) slot.leave();
    await turn();
    expect(order.at(-1)).toBe('large');
    hanging[0]!.leave();
    await turn();
    hanging[1]!.leave();
    await later;
  });

  test('that a request does not need after all is released at once', async () => {
    const slots = createRequestSlots(48);
    const first = await slots.enter('a', unknownWeight);
    let isIn = false;
    void slots.enter('a', 1).then(() => (isIn = true));
    await turn();
    expect(isIn).toBe(false);
    first.shrinkTo(weightOf(1_000));
    await turn();
    expect(isIn).toBe(true);
  });
});

describe('deliveries over many endpoints', () => {
  let lanes: Lanes | undefined;
  afterEach(async () => {
    await lanes?.close();
    lanes = undefined;
  });

  /** Receivers that answer when they are told to. */
  function hangingReceivers() {
    const waiting: (() => void)[] = [];
    const seen = { now: 0, most: 0, isOpen: false };
    return {
      seen,
      receiver: async (): Promise<object> => {
        seen.most = Math.max(seen.most, (seen.now += 1));
        if (!seen.isOpen) await new Promise<void>((resolve) => waiting.push(resolve));
        seen.now -= 1;
        return {};
      },
      open() {
        seen.isOpen = true;
        for (const answer of waiting) answer();
      },
    };
  }

  test('are under way in a bounded number, and all are delivered', async () => {
    const { seen, receiver, open } = hangingReceivers();
    lanes = await startLanes({ database: 'sqlite', receiver });
    for (let n = 0; n < 60; n += 1) await lanes.webhook();
    const backend = lanes.backend({ maxRequests: 16 });
    await lanes.emit(backend, 's1', numbers(3));
    await eventually('requests to be under way', async () => seen.now >= 8);
    await turn();
    expect(seen.most).toBe(8);
    open();
    await eventually('all deliveries', async () => (await lanes!.rows()).every(({ status }) => status === 'delivered'), 30_000);
    expect(seen.most).toBe(8);
    expect(lanes.arrivals).toHaveLength(180);
  }, 60_000);

  test('go to no endpoint that was switched off while they waited for room', async () => {
    const { seen, receiver, open } = hangingReceivers();
    lanes = await startLanes({ database: 'sqlite', receiver });
    for (let n = 0; n < 4; n += 1) await lanes.webhook();
    const backend = lanes.backend({ maxRequests: 4 });
    await lanes.emit(backend, 's1', [1]);
    await eventually('two requests to be under way', async () => seen.now === 2);
    const reached = new Set(lanes.arrivals.map(({ webhookId }) => webhookId));
    await lanes.database.write.run((tx) => updateRows(tx, Webhook, { accountId: 'account-1' }, { isActive: false }));
    // The row is read again when it is a second old.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    open();
    await eventually(
      'the lanes to come to rest',
      async () => (await lanes!.rows()).every(({ status }) => status !== 'sending') && seen.now === 0,
    );
    expect(new Set(lanes.arrivals.map(({ webhookId }) => webhookId))).toEqual(reached);
  }, 30_000);

  test('an account runs four tests of endpoints at a time, and the next one is refused with Retry-After', async () => {
    const { receiver, open } = hangingReceivers();
    lanes = await startLanes({ database: 'sqlite', receiver });
    const webhook = await lanes.row(await lanes.webhook());
    const { dispatcher } = lanes.backend();
    const told = { ...testEvent(new Date()), session: { id: 's', name: 's' } };
    const four = Array.from({ length: 4 }, () => dispatcher.tryOut(webhook, told));
    await expect(dispatcher.tryOut(webhook, told)).rejects.toMatchObject({ code: 'RATE_LIMITED', status: 429 });
    const others = Array.from({ length: 7 }, (_, n) =>
      Array.from({ length: 4 }, () => dispatcher.tryOut({ ...webhook, accountId: `other-${n}` }, told)),
    ).flat();
    await expect(dispatcher.tryOut({ ...webhook, accountId: 'last' }, told)).rejects.toMatchObject({ code: 'OVERLOADED' });
    open();
    for (const { statusCode } of await Promise.all([...four, ...others])) expect(statusCode).toBe(204);
    await expect(dispatcher.tryOut(webhook, told)).resolves.toMatchObject({ statusCode: 204 });
  });
});
