import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { contactOf, lidId, phoneId, pushNow, pushTo, type Account } from '../accounts.js';
import { setChat, wireChat } from '../line/chats.js';
import { Refusal } from '../refusal.js';
import type { World } from '../world.js';
import { accountIn, operation, phone } from './operation.js';

/** What owners do on their phones: address book and chats, blocks, labels, calls. */
export function ownerOperations({ world }: { world: World }) {
  return { ...chatOperations(world), ...personOperations(world) };
}

function chatOperations(world: World) {
  const account = accountIn(world);
  return {
    setContact: operation(
      'Save a name in the address book; null removes it',
      z.object({ phone, contact: phone, name: z.string().nullable() }),
      (d) => {
        const of = account(d.phone);
        of.contacts.set(d.contact, d.name);
        const found = world.phones.find(`${d.contact}@c.us`);
        if (found) pushTo(of, { ev: 'contact', d: contactOf(found, of) });
      },
    ),
    contacts: operation('The contacts of a phone', z.object({ phone }), (d) => {
      const of = account(d.phone);
      return [...of.chats.keys()].flatMap((id) => {
        const found = world.phones.find(id);
        return found ? [contactOf(found, of)] : [];
      });
    }),
    chats: operation('The chats of a phone', z.object({ phone }), (d) => {
      const of = account(d.phone);
      return [...of.chats.keys()].map((id) => ({
        ...wireChat(of, id),
        name: id.endsWith('@g.us') ? world.groups.wire(id).subject : (nameOf(world, of, id) ?? id),
        last: of.byChat.get(id)?.at(-1) ?? null,
      }));
    }),
    setChat: operation(
      'The owner archives, pins, mutes or reads a chat on the phone',
      z.object({
        phone,
        chat: z.string(),
        archive: z.boolean().optional(),
        pin: z.number().optional(),
        mute: z.number().optional(),
        unread: z.number().optional(),
      }),
      ({ phone: number, chat, ...changes }) => setChat(account(number), chat, changes),
    ),
    read: operation(
      'The owner opens a chat on the phone: its messages are acknowledged as read',
      z.object({ phone, chat: z.string() }),
      (d) => world.messages.read(account(d.phone), d.chat),
    ),
  };
}

function personOperations(world: World) {
  const account = accountIn(world);
  return {
    blocked: operation('Contacts that the account blocked', z.object({ phone }), (d) => [...account(d.phone).blocked]),
    block: operation(
      'The phone blocks a number, or unblocks it',
      z.object({ phone, contact: phone, blocked: z.boolean() }),
      (d) => {
        const by = account(d.phone);
        const id = lidId(account(d.contact));
        if (d.blocked) by.blocked.add(id);
        else by.blocked.delete(id);
        pushTo(by, { ev: 'blocked', d: { id, blocked: d.blocked } });
      },
    ),
    setLabels: operation(
      'Labels of a business account',
      z.object({
        phone,
        labels: z.array(
          z.object({
            id: z.string(),
            name: z.string(),
            color: z.string().default('#00a884'),
            colorIndex: z.number().int().default(0),
          }),
        ),
      }),
      (d) => {
        const of = account(d.phone);
        of.labels = d.labels.map((label) => ({
          ...label,
          chats: of.labels.find((old) => old.id === label.id)?.chats ?? [],
        }));
        pushTo(of, { ev: 'labels', d: of.labels });
      },
    ),
    labels: operation('Labels and their chats', z.object({ phone }), (d) => account(d.phone).labels),
    call: operation('A phone calls another', z.object({ from: phone, to: phone, isVideo: z.boolean().default(false) }), (d) => {
      const to = account(d.to);
      const call = { id: randomUUID(), from: phoneId(account(d.from)), isVideo: d.isVideo, state: 'ringing' as const };
      to.calls.push(call);
      pushNow(to, { ev: 'call', d: { ...call, offerTime: world.clock.seconds() } });
      return { id: call.id };
    }),
    endCall: operation('The caller hangs up', z.object({ phone, id: z.string() }), (d) => {
      const to = account(d.phone);
      const call = to.calls.find((one) => one.id === d.id && one.state === 'ringing');
      if (!call) throw new Refusal(404, `No call ${d.id} rings.`);
      call.state = 'ended';
      pushNow(to, { ev: 'call_state', d: call });
    }),
    calls: operation('Calls to a phone and their states', z.object({ phone }), (d) => account(d.phone).calls),
  };
}

/** The name that the viewer sees for a chat. Null: there is no such account. */
function nameOf(world: World, viewer: Account, id: string): string | null {
  const found = world.phones.find(id);
  return found ? (contactOf(found, viewer).name ?? found.name) : null;
}
