import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FailPoint } from '@chasqui/shared/fail-point';
import { linkPhone, openFleet } from '../soak/fleet.js';
import { judge } from '../soak/judge.js';
import { ana, startLoad } from '../soak/load.js';
import { openSink } from '../soak/sinks.js';
import { eventually } from '../stack.js';
import type { Verdict } from './judge.js';
import { randomOf } from './plan.js';

/** Points that are passed only after a crash of another kind, or by requests that this load does not make. */
const rare: readonly FailPoint[] = [
  'lookup.received',
  'due.written',
  'due.committed',
  'occurrence.written',
  'occurrence.committed',
];
/** Ends as soon as the kill has happened. On a loaded machine a backend needs a minute to restart and to process its queue. */
const hitWithinMs = 90_000;

/**
 * Two backends on one PostgreSQL database and a worker behind them, under load. At each fail point the process that passes it kills itself,
 * one point after the other, while the others continue. Judged once, when everything is settled.
 */
export async function killOneOfTwo(
  points: readonly FailPoint[],
  seed: number,
  say: (line: string) => void,
): Promise<{ verdict: Verdict; notHit: FailPoint[] }> {
  const passed = points.filter((one) => !rare.includes(one));
  if (passed.length === 0) return { verdict: { lost: [], doubled: [], stuck: [], untrue: [] }, notHit: [] };
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-two-'));
  const orders = join(folder, 'order.json');
  const fleet = await openFleet('postgres', 2, 1, { CHASQUI_FAIL_POINTS: orders });
  const random = randomOf(seed);
  const sink = await openSink({ failing: 0, random: randomOf(seed + 1) });
  const notHit: FailPoint[] = [];
  try {
    await fleet.simulator.client.createAccount({ phone: ana, name: 'Ana' });
    const phones = ['5511988887711', '5511988887712'].map((phone, index) => ({ name: `two-${index}`, phone }));
    for (const { name, phone } of phones) await linkPhone(fleet, name, phone);
    await fleet.api('POST', '/webhooks', { url: sink.url, events: ['*'] });
    const load = startLoad(fleet, phones, random, 4);
    for (const point of passed) {
      const began = performance.now();
      rmSync(`${orders}.hit`, { force: true });
      const order = { id: `two-${seed}-${point}`, point, pass: 1 + Math.floor(random() * 3), victims: ['self'] };
      // Written atomically: a process that reads it meanwhile must not see half of it.
      writeFileSync(`${orders}.new`, JSON.stringify(order));
      renameSync(`${orders}.new`, orders);
      await eventually('the kill', async () => existsSync(`${orders}.hit`), hitWithinMs).catch(() => notHit.push(point));
      rmSync(orders, { force: true });
      say(
        `     ${point}: ${existsSync(`${orders}.hit`) ? 'killed' : 'not passed'} after ${((performance.now() - began) / 1000).toFixed(1)} s`,
      );
      await eventually('all processes to run again', async () => fleet.members.every((member) => member.isUp()), 60_000);
    }
    await load.stop();
    return { verdict: await judge(fleet, load.asked, [{ name: 'sound', sink }]), notHit };
  } finally {
    sink.close();
    await fleet.close();
    await rm(folder, { recursive: true, force: true });
  }
}
