import { newId, type ObservedMessage } from '@chasqui/shared';
import type { Clock } from '../../src/lib/clock.js';
import { Message } from '../../src/messages/message.entity.js';
import { dataOf, type Core } from './core.js';

/** Days of random messages, by a clock that the test sets. The same seed makes the same traffic. */

export interface SetClock extends Clock {
  advance(ms: number): void;
}

export function createSetClock(start: string): SetClock {
  let time = Date.parse(start);
  return { now: () => new Date(time), monotonic: () => performance.now(), advance: (ms) => void (time += ms) };
}

export function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const people = ['5511999990001', '5511999990002', '4917012345678', '919812345678'];
const group = '120363041111111111@g.us';

/** Lets messages be sent, refused, acknowledged, received, written on the phone and completed, with some minutes between them. */
export async function makeTraffic(
  core: Core,
  { clock, sessionIds, steps, seed }: { clock: SetClock; sessionIds: readonly string[]; steps: number; seed: number },
): Promise<void> {
  const random = createRandom(seed);
  const pick = <T>(values: readonly T[]): T => values[random(values.length)]!;
  for (let step = 0; step < steps; step += 1) {
    clock.advance((1 + random(50)) * 60_000);
    await core.worker.beat();
    await act(core, { kind: random(12), sessionId: pick(sessionIds), person: pick(people), now: clock.now(), pick, step });
  }
}

interface Step {
  kind: number;
  sessionId: string;
  person: string;
  now: Date;
  pick: <T>(values: readonly T[]) => T;
  step: number;
}

async function act(core: Core, { kind, sessionId, person, now, pick, step }: Step): Promise<void> {
  const observe = (more: Partial<ObservedMessage>) =>
    core.worker.emit(sessionId, 'message.observed', {
      message: core.inbound(`said ${step}`, { ...seen(person, step, more), timestamp: now.toISOString(), ...more }),
      origin: 'live',
    });
  if (kind < 4) return observe({ content: pick(contents) });
  if (kind === 4) return observe({ fromMe: true, ack: pick([1, 2, 3, -1]) });
  if (kind === 5) return observe(inGroup(person, step));
  if (kind === 6) {
    // A message that cannot be read yet, and then its content.
    const placeholder = seen(person, step, {});
    await observe({
      ...placeholder,
      content: { type: 'unknown', whatsappType: 'ciphertext', placeholder: 'undecrypted' } as never,
    });
    return observe(placeholder);
  }
  if (kind === 7) core.worker.script({ do: 'fail', reason: pick(['CHAT_NOT_FOUND', 'WHATSAPP_REFUSED']), retryable: false });
  if (kind === 8) core.worker.script({ do: 'uncertain' });
  const { id } = dataOf(await core.send(`text ${step}`, { recipient: person, sessionId, async: true }));
  const sent = await core.reaches(id, 'sent', 'failed', 'uncertain');
  if (kind === 7 && step % 2 === 0) {
    await core.post(`/messages/${id}/retry`, {});
    await core.reaches(id, 'sent');
  }
  if (kind === 8) await core.post(`/messages/${id}/resolve`, { as: pick(['sent', 'failed']) });
  if (kind < 9 || sent.whatsappId === null) return;
  const at = new Date(now.getTime() + 30_000).toISOString();
  const ack = { whatsappId: sent.whatsappId, key: sent.whatsappId.split('_').at(-1)!, chat: sent.chat, participant: null, at };
  for (const level of pick([[2], [2, 3], [3, 2], [4]])) await core.worker.emit(sessionId, 'message.ack', { ...ack, ack: level });
}

const contents: ObservedMessage['content'][] = [
  { type: 'text', message: 'Good morning' },
  { type: 'location', latitude: 1, longitude: 2, name: null, address: null },
];

function seen(person: string, step: number, { fromMe = false }: Partial<ObservedMessage>): Partial<ObservedMessage> {
  const key = `3A${newId().replaceAll('-', '').slice(0, 14).toUpperCase()}${String(step).padStart(4, '0')}`;
  const id = `${person}@c.us`;
  return {
    key,
    fromMe,
    whatsappId: `${fromMe}_${id}_${key}`,
    chat: { id, type: 'private', name: null },
    contact: { id, phone: `+${person}`, lid: null, name: null },
    from: fromMe ? '5511988887777@c.us' : id,
    to: fromMe ? id : '5511988887777@c.us',
  };
}

function inGroup(person: string, step: number): Partial<ObservedMessage> {
  const { key, contact, from } = seen(person, step, {});
  return {
    key: key!,
    whatsappId: `false_${group}_${key}_${from}`,
    chat: { id: group, type: 'group', name: '=Team' },
    contact: contact!,
    from: from!,
  };
}

/** Every message of the database that is counted. */
export const allMessages = async ({ rig }: Core): Promise<Message[]> =>
  (await rig.database.reader.getRepository(Message).find()).filter(({ type }) => type !== 'notice');
