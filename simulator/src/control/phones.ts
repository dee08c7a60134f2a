import { z } from 'zod';
import { pushNow, type Account, type AccountOptions } from '../accounts.js';
import type { Linking } from '../linking.js';
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
    .object({ id: z.string(), publicKey: z.string().nullable().default(null) })
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
      'WhatsApp allows the account to write only to known chats',
      z.object({ phone, reachOutLocked: z.boolean() }),
      (d) => {
        account(d.phone).reachOutLocked = d.reachOutLocked;
        pushNow(account(d.phone), { ev: 'reach_out', d: { locked: d.reachOutLocked } });
      },
    ),
  };
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
  if (options.offline === false) world.messages.phoneOn(made);
  if (options.name !== undefined || options.about !== undefined) world.phones.announce(made);
  return made;
}
