import { z } from 'zod';
import {
  identity,
  phoneId,
  pushNow,
  pushTo,
  remember,
  tellBan,
  type Account,
  type AccountOptions,
  type Challenge,
} from '../accounts.js';
import type { Linking } from '../linking.js';
import { checkRequest } from '../passkeys.js';
import { noMarks } from '../wire.js';
import type { World } from '../world.js';
import { accountIn, nothing, operation, phone } from './operation.js';

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
    .object({
      id: z.string(),
      publicKey: z.string().nullable().default(null),
      rpId: z.string().optional(),
      timeoutMs: z.number().positive().optional(),
    })
    .nullable()
    .optional(),
};

/** Phones and how they are linked. */
export function phoneOperations({ world, linking }: { world: World; linking: Linking }) {
  const account = accountIn(world);
  return {
    createAccount: operation('Create a phone, or change one', z.object({ phone, ...settings }), (d) => shown(change(world, d))),
    setAccount: operation('Change a phone', z.object({ phone, ...settings }), (d) =>
      shown(change(world, { ...d, phone: account(d.phone).phone })),
    ),
    accounts: operation('Phones that were created or linked, or have chats', nothing, () =>
      [...world.phones.accounts.values()].filter((of) => of.made || of.chats.size > 0).map(shown),
    ),
    waiting: operation('Pages that wait to be linked: text of the QR code, pairing code, passkey request', nothing, () =>
      linking.waiting(),
    ),
    scan: operation('Link the page that shows this QR', z.object({ qr: z.string(), phone }), (d) => linking.scan(d.qr, d.phone)),
    enterCode: operation('Link by pairing code', z.object({ code: z.string(), phone }), (d) =>
      linking.enterCode(d.code, d.phone),
    ),
    setPicture: operation('Change the picture of a phone', z.object({ phone, base64: z.string() }), (d) => {
      const of = account(d.phone);
      of.picture = `https://pps.whatsapp.net${world.media.put(Buffer.from(d.base64, 'base64')).directPath}`;
      world.phones.announce(of);
      return { url: of.picture };
    }),
    crowd: operation(
      'Create phones with numbers in a row from `first` on, and for each a name in the address book; the first `chats` of them have written',
      z.object({ phone, first: phone, contacts: z.number().int().min(1).max(20_000), chats: z.number().int().min(0).default(0) }),
      (d) => crowd(world, account(d.phone), d),
    ),
    ...interruptions(world),
  };
}

/** How WhatsApp or the owner ends or interrupts the connection of linked devices. */
function interruptions(world: World) {
  const account = accountIn(world);
  return {
    phoneLogout: operation('The owner unlinks all devices, or one', z.object({ phone, device: z.string().optional() }), (d) => {
      const by = account(d.phone);
      for (const device of [...by.devices.values()]) {
        if (d.device && device.id !== d.device) continue;
        by.devices.delete(device.id);
        device.line?.send({ ev: 'logged_out', d: null });
      }
    }),
    keepOut: operation(
      'WhatsApp blocks the account, or its network, from WhatsApp Web',
      z.object({ phone, state: z.enum(['TOS_BLOCK', 'SMB_TOS_BLOCK', 'PROXYBLOCK', 'DEPRECATED_VERSION']) }),
      (d) => {
        for (const device of account(d.phone).devices.values()) device.line?.send({ ev: 'state', d: { state: d.state } });
      },
    ),
    conflict: operation('WhatsApp Web is opened elsewhere with the same login', z.object({ phone }), (d) => {
      for (const device of account(d.phone).devices.values()) device.line?.replace();
    }),
    drop: operation(
      'The connections break; pages reconnect after forMs',
      z.object({ phone, forMs: z.number().default(500) }),
      (d) => {
        for (const device of account(d.phone).devices.values()) device.line?.send({ ev: 'drop', d: { forMs: d.forMs } });
      },
    ),
    restrict: operation(
      'WhatsApp allows the account to write only to known chats; `untold`: open pages learn it when they ask',
      z.object({ phone, reachOutLocked: z.boolean(), until: z.iso.datetime().optional(), untold: z.boolean().default(false) }),
      (d) => {
        const of = account(d.phone);
        of.reachOutLocked = d.reachOutLocked;
        of.reachOutUntil = d.reachOutLocked && d.until ? Date.parse(d.until) : null;
        if (!d.untold) pushNow(of, { ev: 'reach_out', d: { locked: of.reachOutLocked, until: of.reachOutUntil } });
      },
    ),
    ban: operation(
      'WhatsApp bans the account for so many seconds, or lifts the ban (0): its pages are kept out',
      z.object({ phone, seconds: z.number().int().min(0) }),
      (d) => {
        const of = account(d.phone);
        of.bannedUntil = d.seconds > 0 ? Date.now() + d.seconds * 1_000 : null;
        for (const device of of.devices.values()) if (device.line) tellBan(of, device.line.send);
      },
    ),
    challenge: operation(
      'WhatsApp wants the pages of the account to prove that its owner is there, with the passkey of the account or another proof, or is content',
      z.object({
        phone,
        open: z.boolean(),
        type: z.enum(['PASSKEY', 'CAPTCHA']).default('PASSKEY'),
        timeoutMs: z.number().positive().default(600_000),
        prf: z.boolean().default(false),
      }),
      (d) => {
        const of = account(d.phone);
        of.challenge = d.open ? challengeOf(d) : null;
        pushNow(of, { ev: 'challenge', d: of.challenge });
        return of.challenge;
      },
    ),
  };
}

const challengeOf = (d: { type: Challenge['type']; timeoutMs: number; prf: boolean }): Challenge =>
  d.type === 'PASSKEY' ? { type: d.type, request: checkRequest(d.timeoutMs), prf: d.prf } : { type: d.type };

/** For pages that load from now on: a large address book and many chats, without a message sent for each. */
function crowd(world: World, of: Account, { first, contacts, chats }: { first: string; contacts: number; chats: number }): void {
  const start = BigInt(first);
  for (let index = 0; index < contacts; index += 1) {
    const number = String(start + BigInt(index));
    world.phones.create({ phone: number, name: `Person ${index}`, made: true });
    of.contacts.set(number, `Person ${index}`);
    if (index >= chats) continue;
    const chat = `${number}@c.us`;
    const key = `3EB0${String(index).padStart(18, '0')}`;
    const t = world.clock.seconds() - index;
    const marks = noMarks();
    const data = { body: `Message ${index}` };
    remember(of, { key, fromMe: false, chat, from: chat, to: phoneId(of), author: null, t, type: 'chat', data, ack: 1, marks });
  }
}

/** A phone as the control API shows it. */
const shown = (of: Account) => ({
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

/** Creates the phone or changes the passed fields. */
function change(world: World, options: AccountOptions): Account {
  const made = world.phones.create({ ...options, made: true });
  if (options.isBusiness !== undefined) pushTo(made, { ev: 'platform', d: identity(made).platform });
  if (options.offline === false) world.messages.phoneOn(made);
  const isSeen = [options.name, options.about, options.hidesNumber].some((value) => value !== undefined);
  if (isSeen) world.phones.announce(made);
  return made;
}
