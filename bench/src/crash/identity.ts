import { eventually } from '../stack.js';
import type { Verdict } from './judge.js';
import type { Victim } from './plan.js';
import { ana, type Rig, sessions } from './rig.js';
import { victimsOf } from './special.js';

interface MessageBody {
  id: string;
  status: string;
  reason: { code: string } | null;
}

const left = ['sent', 'delivered', 'read', 'played'];

const messageOf = async (rig: Rig, id: string): Promise<MessageBody | null> =>
  (await rig.stack.api<MessageBody>('GET', `/messages/${id}`).catch(() => null))?.body.data ?? null;

const arrivals = async (rig: Rig, text: string): Promise<number> =>
  (await rig.stack.simulator.client.received({ phone: ana })).filter((message) => message.text === text).length;

async function judgeSent(rig: Rig, id: string, text: string, verdict: Verdict): Promise<void> {
  await eventually(`${text} to be sent`, async () => left.includes((await messageOf(rig, id))?.status ?? ''), 60_000).catch(() =>
    verdict.stuck.push(`${text}: never sent`),
  );
  const isSent = left.includes((await messageOf(rig, id))?.status ?? '');
  await eventually(`${text} to arrive`, async () => (await arrivals(rig, text)) > 0, 5_000).catch(() => undefined);
  const times = await arrivals(rig, text);
  if (isSent && times === 0) verdict.lost.push(`${text}: called sent and never arrived`);
  if (times > 1) verdict.doubled.push(`${text}: arrived ${times} times`);
}

/**
 * WhatsApp's server never gets a message, which stays in the page with ack 0. A process is killed when a lookup has found it there. It is called
 * sent only after the server has it: the browser that comes next does not know it, and it is sent again under the same id.
 */
export async function killInLookup(rig: Rig, victim: Victim, seed: number): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack } = rig;
  const [{ name, phone }] = sessions;
  const text = `unacknowledged ${seed} ${victim}`;
  await rig.connected();
  await stack.simulator.client.fault({ op: 'send', mode: 'drop', count: 1, phone });
  rig.order({ id: text, point: 'lookup.unacknowledged', pass: 1, victims: victimsOf(rig, victim, seed) });
  const { body } = await stack.api<MessageBody>('POST', '/messages/send-text', {
    sessionId: name,
    recipient: ana,
    message: text,
    async: true,
  });
  await eventually('the kill', async () => rig.wasHit(), 30_000).catch(() =>
    verdict.untrue.push(`${text}: the kill did not happen`),
  );
  rig.withdraw();
  await rig.connected().catch(() => verdict.stuck.push(`${text}: the sessions did not reconnect`));
  // Without another browser the page keeps it with ack 0, and a person is asked to restart the session.
  await eventually('the restart', async () => {
    const answer = await stack.api('POST', `/sessions/${name}/restart`).catch(() => null);
    return answer !== null && answer.status < 300;
  });
  await judgeSent(rig, body.data.id, text, verdict);
  await rig.connected().catch(() => verdict.stuck.push(`${text}: the sessions did not reconnect`));
  return verdict;
}

/**
 * A session is linked to another phone while messages wait. A process is killed when that is written, or when the first message was held. None of
 * the messages leaves before a person decides; after that each leaves once.
 */
export async function killInRelink(
  rig: Rig,
  point: 'identity.written' | 'identity.held',
  victim: Victim,
  seed: number,
): Promise<Verdict> {
  const verdict: Verdict = { lost: [], doubled: [], stuck: [], untrue: [] };
  const { stack } = rig;
  const id = `relink-${seed}-${point.replace('.', '_')}-${victim}`;
  const number = (part: number): string =>
    `5511955${part}${String(seed).padStart(2, '0')}${point.length}${String(victim.length)}`.padEnd(13, '0');
  const phones = [number(1), number(2)] as const;
  for (const phone of phones) await stack.simulator.client.createAccount({ phone, name: id });
  await stack.api('POST', '/sessions', { name: id });
  await link(rig, id, phones[0], () => false);
  await stack.simulator.client.phoneLogout({ phone: phones[0] });
  await eventually('the logout', async () => {
    const answer = await stack.api<{ status: string }>('GET', `/sessions/${id}`);
    return answer.body.data.status === 'disconnected';
  });
  const texts = [`${id} one`, `${id} two`];
  const queued: MessageBody[] = [];
  for (const message of texts) {
    const send = { sessionId: id, recipient: ana, message, async: true, queueIfOffline: true };
    queued.push((await stack.api<MessageBody>('POST', '/messages/send-text', send)).body.data);
  }
  rig.order({ id, point, pass: 1, victims: victimsOf(rig, victim, seed) });
  await link(rig, id, phones[1], rig.wasHit);
  await eventually('the kill', async () => rig.wasHit(), 20_000).catch(() =>
    verdict.untrue.push(`${id}: the kill did not happen`),
  );
  rig.withdraw();
  await rig.connected().catch(() => verdict.stuck.push(`${id}: the other sessions did not reconnect`));
  for (const [index, { id: messageId }] of queued.entries()) {
    const isHeld = async (): Promise<boolean> => (await messageOf(rig, messageId))?.reason?.code === 'SESSION_IDENTITY_CHANGED';
    await eventually('it to be held', isHeld, 40_000).catch(() => verdict.stuck.push(`${texts[index]}: is not held`));
    if ((await arrivals(rig, texts[index]!)) > 0) verdict.untrue.push(`${texts[index]}: left as another account`);
  }
  await stack.api('POST', `/sessions/${id}/held-messages`, { decision: 'send' });
  for (const [index, { id: messageId }] of queued.entries()) await judgeSent(rig, messageId, texts[index]!, verdict);
  await stack.api('DELETE', `/sessions/${id}`).catch(() => null);
  return verdict;
}

/** Starts the session and scans with this phone. The processes may die meanwhile: then it is asked again, unless `isOver`. */
async function link(rig: Rig, name: string, phone: string, isOver: () => boolean): Promise<void> {
  const { stack } = rig;
  await eventually('the start', async () => {
    const answer = await stack.api('POST', `/sessions/${name}/connect`).catch(() => null);
    return answer !== null && answer.status < 300;
  });
  let scanned = '';
  await eventually(
    'the link',
    async () => {
      const at = await stack.api<{ isConnected: boolean }>('GET', `/sessions/${name}`).catch(() => null);
      if (at?.body.data?.isConnected || isOver()) return true;
      const qr = (await stack.api<{ qrText: string }>('GET', `/sessions/${name}/qr`).catch(() => null))?.body.data?.qrText;
      if (qr && qr !== scanned) {
        scanned = qr;
        await stack.simulator.client.scan({ qr, phone }).catch(() => undefined);
      }
      return false;
    },
    40_000,
  );
}
