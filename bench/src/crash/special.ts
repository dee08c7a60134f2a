import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../ports.js';
import { createProcesses, environment, eventually } from '../stack.js';
import { ownDatabase } from '../database.js';
import type { Verdict } from './judge.js';
import { randomOf, type Victim } from './plan.js';
import { treesBelow } from '../processes.js';
import { ana, sessions, type DatabaseKind, type Rig } from './rig.js';

/** A backend that is killed in its first migration, after a number of tables, and then restarted. */
export async function killInMigration(database: DatabaseKind, pass: number): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-migration-'));
  const own = database === 'postgres' ? await ownDatabase() : null;
  const [port, workerPort] = [await freePort(), await freePort()];
  const orders = join(dataDir, 'order.json');
  const options = { settings: { CHASQUI_FAIL_POINTS: orders }, ...(own ? { databaseUrl: own.url } : {}) };
  const env = environment({ dataDir, port, workerPort, browserArgs: [], options });
  const urls = { backend: `http://127.0.0.1:${port}`, worker: `http://127.0.0.1:${workerPort}` };
  const processes = createProcesses(env, urls);
  try {
    writeFileSync(orders, JSON.stringify({ id: `migration-${pass}`, point: 'migration.half', pass, victims: ['self'] }));
    const first = await processes.start('backend').then(
      () => null,
      (error: Error) => error.message,
    );
    if (!first?.includes('SIGKILL')) verdict.untrue.push(`the kill in the migration did not happen: ${first ?? 'it started'}`);
    await processes
      .start('backend')
      .catch((error: Error) => verdict.stuck.push(`after a kill in the migration: ${error.message}`));
    if (!processes.key()) verdict.lost.push('the first admin password was never printed');
  } finally {
    await processes.end('backend', 'SIGTERM');
    await own?.drop();
    await rm(dataDir, { recursive: true, force: true });
  }
  return verdict;
}

/** A session is deleted while its login goes from the worker's disk: afterwards both are gone, and other sessions are not affected. */
export async function killInDeletion(rig: Rig, victim: Victim, seed: number): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack } = rig;
  const name = `gone-${seed}-${victim}`;
  const phone = `55119777${String(seed).padStart(2, '0')}${String(victim.length).padStart(3, '0')}`;
  await stack.simulator.client.createAccount({ phone, name });
  const { body } = await stack.api<{ id: string }>('POST', '/sessions', { name });
  const { id } = body.data;
  await stack.api('POST', `/sessions/${name}/connect`);
  const qr = await eventually(
    'a code',
    async () => (await stack.api<{ qrText: string }>('GET', `/sessions/${name}/qr`)).body.data?.qrText,
  );
  await stack.simulator.client.scan({ qr, phone });
  await eventually('it to be connected', async () => {
    const answer = await stack.api<{ isConnected: boolean }>('GET', `/sessions/${name}`);
    return answer.body.data.isConnected;
  });
  const login = join(stack.dataDir, 'worker', 'profiles', id);
  if (!existsSync(login)) verdict.untrue.push(`there is no login at ${login}`);
  rig.order({ id: name, point: 'profile.deleting', pass: 1, victims: victimsOf(rig, victim, seed) });
  await eventually('the deletion to be taken', async () => {
    const answer = await stack.api('DELETE', `/sessions/${name}`).catch(() => null);
    return answer !== null && [200, 404].includes(answer.status);
  });
  await eventually('the kill', async () => rig.wasHit(), 20_000).catch(() =>
    verdict.untrue.push(`${name}: the kill did not happen`),
  );
  rig.withdraw();
  await eventually('the login to be gone', async () => !existsSync(login), 30_000).catch(() =>
    verdict.stuck.push(`${name}: its login is still on disk`),
  );
  await rig.connected().catch(() => verdict.stuck.push(`${name}: the other sessions did not reconnect`));
  if ((await stack.api('GET', `/sessions/${name}`)).status !== 404) verdict.untrue.push(`${name}: it is still there`);
  return verdict;
}

/** The backend dies during the erasure of a contact, and is restarted: no table and no file contains anything of the person. */
export async function killInErasure(rig: Rig, seed: number): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack, database } = rig;
  const id = `erased-${seed}`;
  const phone = `55116666${String(seed).padStart(4, '0')}`;
  const mark = `ERASE-me-${seed}-${database}`;
  const [{ name, phone: ours }] = sessions;
  await stack.simulator.client.createAccount({ phone, name: `${mark} name` });
  for (let n = 0; n < 4; n += 1)
    await stack.simulator.client.deliver({ from: phone, to: ours, type: 'text', text: `${mark} said ${n}` });
  for (let n = 0; n < 3; n += 1)
    await stack.api('POST', '/messages/send-text', { sessionId: name, recipient: phone, message: `${mark} answered ${n}` });
  const held = async (): Promise<number> =>
    (await stack.api<unknown[]>('GET', `/messages/list?contact=${phone}`)).body.data.length;
  await eventually('its seven messages', async () => (await held()) === 7);
  rig.order({ id, point: 'erasure.half', pass: 1 + (seed % 7), victims: [stack.pid('backend')] });
  const asked = await stack.api<{ id: string }>('POST', '/privacy/erasures', { contact: phone, confirm: phone });
  await eventually('the kill', async () => rig.wasHit(), 20_000).catch(() =>
    verdict.untrue.push(`${id}: the kill did not happen`),
  );
  rig.withdraw();
  await eventually(
    'the erasure to be done',
    async () =>
      (await stack.api<{ status: string }>('GET', `/privacy/erasures/${asked.body.data.id}`).catch(() => null))?.body.data
        ?.status === 'done',
    30_000,
  ).catch(() => verdict.stuck.push(`${id}: it was not taken up again`));
  if ((await held()) > 0) verdict.untrue.push(`${id}: messages still name the contact`);
  if (database === 'sqlite')
    for (const file of ['chasqui.sqlite', 'chasqui.sqlite-wal']) {
      const bytes = await readFile(join(stack.dataDir, file)).catch(() => Buffer.alloc(0));
      if (bytes.includes(mark)) verdict.untrue.push(`${id}: ${file} still holds what was said`);
    }
  await rig.connected().catch(() => verdict.stuck.push(`${id}: the sessions did not reconnect`));
  return verdict;
}

/**
 * The backend dies while it makes the occurrence of a recurring schedule: afterwards there is exactly one message of it, it arrived once, and the
 * schedule has ended.
 */
export async function killInOccurrence(
  rig: Rig,
  point: 'occurrence.written' | 'occurrence.committed',
  victim: Victim,
  seed: number,
): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack } = rig;
  const id = `${point}-${seed}-${victim}`;
  const [{ name: sessionId }] = sessions;
  const message = { type: 'text', recipient: ana, message: id };
  const schedule = { sessionId, name: id, cron: '* * * * *', maxOccurrences: 1, message };
  const created = await stack.api<{ id: string }>('POST', '/schedules', schedule);
  rig.order({ id, point, pass: 1, victims: victimsOf(rig, victim, seed) });
  // Cron has no unit below a minute.
  await eventually('the kill', async () => rig.wasHit(), 75_000).catch(() =>
    verdict.untrue.push(`${id}: the kill did not happen`),
  );
  rig.withdraw();
  const read = async () =>
    (await stack.api<{ status: string; occurrences: number }>('GET', `/schedules/${created.body.data.id}`).catch(() => null))
      ?.body.data;
  const arrived = async (): Promise<number> =>
    (await stack.simulator.client.received({ phone: ana })).filter(({ text }) => text === id).length;
  await eventually('the occurrence to arrive', async () => (await arrived()) > 0, 60_000).catch(() => verdict.lost.push(id));
  await eventually('the schedule to end', async () => (await read())?.status === 'ended', 60_000).catch(() =>
    verdict.stuck.push(id),
  );
  const rows = await stack.api<{ text: string | null }[]>('GET', '/messages/list?direction=outbound&limit=200');
  const made = rows.body.data.filter(({ text }) => text === id).length;
  if (made !== 1) verdict.untrue.push(`${id}: ${made} messages were made`);
  if ((await arrived()) > 1) verdict.doubled.push(id);
  await rig.connected().catch(() => verdict.stuck.push(`${id}: the sessions did not reconnect`));
  return verdict;
}

export function victimsOf(rig: Rig, victim: Victim, seed: number): number[] {
  if (victim !== 'chromium') return [rig.stack.pid(victim)];
  const browsers = treesBelow(rig.stack.pid('worker'));
  return browsers[Math.floor(randomOf(seed)() * browsers.length)] ?? [];
}
