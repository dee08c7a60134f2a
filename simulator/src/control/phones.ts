import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { contactOf, lidId, phoneId, pushNow, pushTo, type Account } from '../accounts.js';
import { setChat, wireChat } from '../line/chats.js';
import type { Linking } from '../linking.js';
import { Refusal } from '../refusal.js';
import type { World } from '../world.js';
import { nothing, operation, phone } from './operation.js';

/** The account of a phone that was made; orders for others are mistakes. */
export const accountIn =
  (world: World) =>
  (number: string): Account => {
    const found = world.phones.accounts.get(number);
    if (!found) throw new Refusal(404, `There is no phone ${number}. Create it first.`);
    return found;
  };

const settings = {
  name: z.string().optional(),
  about: z.string().optional(),
  isBusiness: z.boolean().optional(),
  offline: z.boolean().optional(),
  autoRead: z.boolean().optional(),
  ackDelayMs: z.number().min(0).optional(),
  groupsByInvite: z.boolean().optional(),
  gone: z.boolean().optional(),
  spellings: z.array(phone).optional(),
  hidesNumber: z.boolean().optional(),
  passkey: z
    .object({ id: z.string(), publicKey: z.string().nullable().default(null) })
    .nullable()
    .optional(),
};

/** Phones, linking, and what their owners do on them. */
export function phoneOperations({ world, linking }: { world: World; linking: Linking }) {
  const account = accountIn(world);
  const show = (of: Account) => ({
    phone: of.phone,
    lid: of.lid,
    name: of.name,
    about: of.about,
    isBusiness: of.isBusiness,
    autoRead: of.autoRead,
    offline: of.offline,
    presence: of.presence,
    picture: of.picture,
    devices: [...of.devices.values()].map((device) => ({
      id: device.id,
      online: device.line !== null,
      waiting: device.queue.length,
    })),
    chats: [...of.chats.keys()],
  });
  const change = (d: { phone: string } & Partial<Parameters<typeof world.phones.create>[0]>): Account => {
    const made = world.phones.create({ ...d, made: true });
    if (d.offline === false) world.messages.phoneOn(made);
    if (d.name !== undefined || d.about !== undefined) world.phones.announce(made);
    return made;
  };

  return {
    createAccount: operation('Make a phone, or change one', z.object({ phone, ...settings }), (d) => show(change(d))),
    setAccount: operation('Change a phone', z.object({ phone, ...settings }), (d) =>
      show(change({ ...d, phone: account(d.phone).phone })),
    ),
    accounts: operation('Phones that were made or linked, or have chats', nothing, () =>
      [...world.phones.accounts.values()].filter((of) => of.made || of.chats.size > 0).map(show),
    ),
    waiting: operation('Pages that wait to be linked: code of the QR, pairing code, passkey request', nothing, () =>
      linking.waiting(),
    ),
    scan: operation('Link the page that shows this QR', z.object({ qr: z.string(), phone }), (d) => linking.scan(d.qr, d.phone)),
    enterCode: operation('Link by pairing code', z.object({ code: z.string(), phone }), (d) =>
      linking.enterCode(d.code, d.phone),
    ),
    phoneLogout: operation('The owner unlinks all devices, or one', z.object({ phone, device: z.string().optional() }), (d) => {
      const by = account(d.phone);
      for (const device of [...by.devices.values()]) {
        if (d.device && device.id !== d.device) continue;
        by.devices.delete(device.id);
        device.line?.send({ ev: 'logged_out', d: null });
      }
    }),
    keepOut: operation(
      'WhatsApp keeps the account, or the network it comes from, out of WhatsApp Web',
      z.object({ phone, state: z.enum(['TOS_BLOCK', 'SMB_TOS_BLOCK', 'PROXYBLOCK']) }),
      (d) => {
        for (const device of account(d.phone).devices.values()) device.line?.send({ ev: 'state', d: { state: d.state } });
      },
    ),
    conflict: operation('WhatsApp Web is opened elsewhere with the same login', z.object({ phone }), (d) => {
      for (const device of account(d.phone).devices.values()) device.line?.replace();
    }),
    drop: operation('The lines break; pages try again after forMs', z.object({ phone, forMs: z.number().default(500) }), (d) => {
      for (const device of account(d.phone).devices.values()) device.line?.send({ ev: 'drop', d: { forMs: d.forMs } });
    }),
    restrict: operation(
      'WhatsApp lets the account write to known chats only',
      z.object({ phone, reachOutLocked: z.boolean() }),
      (d) => {
        account(d.phone).reachOutLocked = d.reachOutLocked;
      },
    ),
    setContact: operation(
      'Save a name in the address book; null takes it out',
      z.object({ phone, contact: phone, name: z.string().nullable() }),
      (d) => {
        const of = account(d.phone);
        of.contacts.set(d.contact, d.name);
        const found = world.phones.find(`${d.contact}@c.us`);
        if (found) pushTo(of, { ev: 'contact', d: contactOf(found, of) });
      },
    ),
    contacts: operation('Who the phone knows', z.object({ phone }), (d) => {
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
        name: id.endsWith('@g.us') ? world.groups.wire(id).subject : (nameOf(of, id) ?? id),
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
      'The owner opens a chat on the phone: its writers get their ticks',
      z.object({ phone, chat: z.string() }),
      (d) => world.messages.read(account(d.phone), d.chat),
    ),
    blocked: operation('Who the account blocked', z.object({ phone }), (d) => [...account(d.phone).blocked]),
    block: operation(
      'The phone blocks a number, or lets it write again',
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
      z.object({ phone, labels: z.array(z.object({ id: z.string(), name: z.string(), color: z.string().default('#00a884') })) }),
      (d) => {
        const of = account(d.phone);
        of.labels = d.labels.map((label) => ({ ...label, chats: of.labels.find((old) => old.id === label.id)?.chats ?? [] }));
        pushTo(of, { ev: 'labels', d: of.labels });
      },
    ),
    labels: operation('Labels and the chats that have them', z.object({ phone }), (d) => account(d.phone).labels),
    call: operation('A phone rings another', z.object({ from: phone, to: phone, isVideo: z.boolean().default(false) }), (d) => {
      const to = account(d.to);
      const call = { id: randomUUID(), from: phoneId(account(d.from)), isVideo: d.isVideo, state: 'ringing' as const };
      to.calls.push(call);
      pushNow(to, { ev: 'call', d: { ...call, offerTime: world.clock.seconds() } });
      return { id: call.id };
    }),
    calls: operation('Calls to a phone and what became of them', z.object({ phone }), (d) => account(d.phone).calls),
  };

  function nameOf(viewer: Account, id: string): string | null {
    const found = world.phones.find(id);
    return found ? (contactOf(found, viewer).name ?? found.name) : null;
  }
}
