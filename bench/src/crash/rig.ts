import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FailOrder } from '@chasqui/shared/fail-point';
import { eventually, startStack, type Stack } from '../stack.js';
import { ownDatabase } from '../database.js';

export type DatabaseKind = 'sqlite' | 'postgres';

/** Two linked phones of ours, and one that answers them. */
export const sessions = [
  { name: 'one', phone: '5511988887701' },
  { name: 'two', phone: '5511988887702' },
] as const;
export const ana = '5511999990001';

export interface Rig {
  stack: Stack;
  database: DatabaseKind;
  /** Writes an order where the fail points look for it, with the victims' current process ids. */
  order(order: FailOrder): void;
  withdraw(): void;
  wasHit(): boolean;
  connected(withinMs?: number): Promise<void>;
  /** Ids of the events that the receiver of webhooks has answered with 2xx. */
  received: ReadonlySet<string>;
  /** How often a process was restarted because it had ended. */
  restarts(): number;
  close(): Promise<void>;
}

const settings = {
  SEND_RATE_PER_MINUTE: '0',
  HEARTBEAT_SECONDS: '0.5',
  PROBE_SECONDS: '1',
  UNCERTAIN_GRACE_MS: '700',
  SEND_DEADLINE_MS: '4000',
  SEND_WAIT_MS: '5000',
  MESSAGE_RETRY_INTERVAL: '0.02',
  LEASE_SECONDS: '5',
  LOG_LEVEL: 'info',
  EGRESS_ALLOW: '127.0.0.1/32',
  WEBHOOK_RETRY_DELAYS: Array.from({ length: 40 }, () => 300).join(','),
  // The matrix restarts a backend a thousand times.
  PANEL_ENABLED: 'false',
};

/** The whole product with both phones linked, and a supervisor that restarts any process that dies, as `npm start` does. */
export async function openRig(database: DatabaseKind, more: Record<string, string> = {}): Promise<Rig> {
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-crash-'));
  const orders = join(folder, 'order.json');
  const own = database === 'postgres' ? await ownDatabase() : null;
  const stack = await startStack({
    settings: { ...settings, ...more, CHASQUI_FAIL_POINTS: orders },
    ...(own ? { databaseUrl: own.url } : {}),
  });
  const receiver = await startReceiver();
  let restarts = 0;
  let closing = false;
  const watching = watch();

  async function watch(): Promise<void> {
    for (; !closing; await sleep(20)) {
      const gone = (['backend', 'worker'] as const).filter((part) => !stack.isUp(part));
      if (closing || gone.length === 0) continue;
      restarts += gone.length;
      await Promise.all(gone.map((part) => stack.start(part).catch(() => undefined)));
    }
  }

  const isConnected = async ({ name }: { name: string }): Promise<boolean> => {
    const answer = await stack.api<{ isConnected: boolean; stale: boolean }>('GET', `/sessions/${name}/status`).catch(() => null);
    return answer?.body.data?.isConnected === true && !answer.body.data.stale;
  };

  const rig: Rig = {
    stack,
    database,
    order(order) {
      rmSync(`${orders}.hit`, { force: true });
      // Written atomically: a process that reads it meanwhile must not see half of it.
      writeFileSync(`${orders}.new`, JSON.stringify(order));
      renameSync(`${orders}.new`, orders);
    },
    withdraw: () => rmSync(orders, { force: true }),
    wasHit: () => existsSync(`${orders}.hit`),
    connected: async (withinMs = 40_000) => {
      const all = async (): Promise<boolean> => (await Promise.all(sessions.map(isConnected))).every(Boolean);
      await eventually('both sessions to be connected', all, withinMs);
    },
    received: receiver.received,
    restarts: () => restarts,
    async close() {
      closing = true;
      await watching;
      await stack.close();
      receiver.close();
      await own?.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await link(stack);
    await rig.connected();
    await stack.api('POST', '/webhooks', { url: receiver.url, events: ['*'] });
    return rig;
  } catch (error) {
    await rig.close();
    throw error;
  }
}

/** A webhook receiver outside of the processes that are killed. */
async function startReceiver() {
  const received = new Set<string>();
  const server = createServer((req, res) => {
    req.resume().on('end', () => {
      received.add(String(req.headers['webhook-id']));
      res.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    received,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function link(stack: Stack): Promise<void> {
  const phones = stack.simulator.client;
  await phones.createAccount({ phone: ana, name: 'Ana' });
  for (const { name, phone } of sessions) {
    await phones.createAccount({ phone, name });
    await stack.api('POST', '/sessions', { name });
    await stack.api('POST', `/sessions/${name}/connect`);
    const qr = await eventually('a code', async () => {
      const { body } = await stack.api<{ qrText: string | null }>('GET', `/sessions/${name}/qr`);
      return body.data?.qrText;
    });
    await phones.scan({ qr, phone });
    // Stories reach the people who have a chat with the account.
    await phones.deliver({ from: ana, to: phone, type: 'text', text: 'hello' });
  }
}
