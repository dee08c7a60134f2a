import { afterEach, describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../src/db/database.js';
import { insertRows } from '../src/db/rows.js';
import { newDelivery } from '../src/webhooks/deliveries.js';
import { moveDeliveries } from '../src/webhooks/move-deliveries.js';
import { WebhookDelivery } from '../src/webhooks/webhook.entity.js';
import { databases, migratedDatabase } from './support/backend.js';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe.each(await databases())('a backlog of an endpoint on %s', (database) => {
  test('is moved in parts, so that no statement grows with it, and other deliveries stay', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chasqui-backlog-'));
    closers.push(() => rm(folder, { recursive: true, force: true }));
    const own = database === 'postgres' ? await migratedDatabase() : null;
    if (own) closers.push(own.drop);
    const opened = await openDatabase(own ? { url: own.url } : { file: join(folder, 'backend.sqlite') });
    closers.push(opened.close);
    const [endpoint, other, accountId] = [newId(), newId(), newId()];
    const at = new Date();
    const rowOf = (webhookId: string, cursor: number): WebhookDelivery => ({
      ...newDelivery({ id: webhookId, accountId }, { id: newId(), cursor, sessionId: null, type: 'message.sent' } as never, at),
      status: cursor % 7 === 0 ? 'delivered' : cursor % 2 === 0 ? 'held' : 'pending',
    });
    const rows = Array.from({ length: 11_000 }, (_, n) => rowOf(endpoint, n + 1));
    rows.push(...Array.from({ length: 20 }, (_, n) => rowOf(other, n + 1)));
    for (let from = 0; from < rows.length; from += 500)
      await opened.write.run((tx) => insertRows(tx, WebhookDelivery, rows.slice(from, from + 500)));

    const changed: number[] = [];
    const moved = await opened.write.run(async (tx) => {
      const runner = tx.manager.queryRunner!;
      const query = runner.query.bind(runner) as (...args: unknown[]) => Promise<{ affected?: number }>;
      runner.query = (async (...args: unknown[]) => {
        const result = await query(...args);
        if (String(args[0]).startsWith('UPDATE')) changed.push(result.affected ?? Infinity);
        return result;
      }) as typeof runner.query;
      const total = await moveDeliveries(tx, endpoint, ['held', 'pending'], { status: 'cancelled' });
      runner.query = query as typeof runner.query;
      return total;
    });
    const expected = rows.filter(({ webhookId, status }) => webhookId === endpoint && status !== 'delivered').length;
    expect(moved).toBe(expected);
    expect(Math.max(...changed)).toBeLessThanOrEqual(5_000);
    const count = (where: Pick<WebhookDelivery, 'webhookId' | 'status'>): Promise<number> =>
      opened.reader.getRepository(WebhookDelivery).countBy(where);
    expect(await count({ webhookId: endpoint, status: 'cancelled' })).toBe(expected);
    expect(await count({ webhookId: endpoint, status: 'delivered' })).toBe(11_000 - expected);
    expect(await count({ webhookId: other, status: 'cancelled' })).toBe(0);
  }, 60_000);
});
