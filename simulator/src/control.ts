import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { phoneId, pushTo, type AccountOptions } from './accounts.js';
import type { Fault } from './faults.js';
import type { Linking } from './linking.js';
import { storeMedia } from './files.js';
import type { PageOptions } from './wire.js';
import { Refusal, type World } from './world.js';

export interface Delivery {
  from: string;
  /** A linked phone, or a group id. */
  to: string;
  type: 'text' | 'image' | 'video' | 'audio' | 'voice' | 'document' | 'sticker' | 'location' | 'contact' | 'poll' | 'raw';
  text?: string;
  caption?: string;
  base64?: string;
  mimetype?: string;
  filename?: string;
  latitude?: number;
  longitude?: number;
  vcard?: string;
  question?: string;
  options?: string[];
  quotedKey?: string;
  /** WhatsApp's own type and fields, for what has no short form. */
  raw?: { type: string; data: Record<string, unknown> };
  asLid?: boolean;
}

const whatsappTypes = {
  text: 'chat',
  image: 'image',
  video: 'video',
  audio: 'audio',
  voice: 'ptt',
  document: 'document',
  sticker: 'sticker',
  location: 'location',
  contact: 'vcard',
  poll: 'poll_creation',
} as const;

/** Everything that tests and the phone page can order; one table, called as `POST /api/<name>` with a JSON object. */
export function controlOperations({
  world,
  linking,
  page,
  missing,
}: {
  world: World;
  linking: Linking;
  page: PageOptions;
  missing: Set<string>;
}) {
  const account = (phone: string) => {
    const found = world.accounts.get(phone.replace(/\D/g, ''));
    if (!found) throw new Refusal(404, `There is no phone ${phone}. Create it first.`);
    return found;
  };
  const target = (to: string): string => (to.includes('@') ? to : phoneId(world.create({ phone: to.replace(/\D/g, '') })));
  const show = (phone: string) => {
    const { devices, chats, name, lid, about, autoRead, offline } = account(phone);
    return {
      phone,
      lid,
      name,
      about,
      autoRead,
      offline,
      devices: [...devices.values()].map((device) => ({ id: device.id, online: device.send !== null })),
      chats: [...chats.keys()],
    };
  };

  return {
    createAccount: (d: AccountOptions) => show(world.create({ ...d, phone: d.phone.replace(/\D/g, '') }).phone),
    accounts: (_: object) => [...world.accounts.keys()].map(show),
    waiting: (_: object) => linking.waiting(),
    scan: (d: { qr: string; phone: string }) => linking.scan(d.qr, d.phone.replace(/\D/g, '')),
    enterCode: (d: { code: string; phone: string }) => linking.enterCode(d.code, d.phone.replace(/\D/g, '')),
    deliver(d: Delivery) {
      const file = d.base64 ? storeMedia(world.media, Buffer.from(d.base64, 'base64')) : null;
      const size = d.base64 ? Buffer.from(d.base64, 'base64').length : undefined;
      const type = d.type === 'raw' ? d.raw!.type : whatsappTypes[d.type];
      const data: Record<string, unknown> = {
        body: d.type === 'contact' ? d.vcard : d.text,
        caption: d.caption,
        mimetype: d.mimetype,
        filename: d.filename,
        size,
        ...(file
          ? { directPath: file.directPath, filehash: file.filehash, encFilehash: file.filehash, mediaKey: 'simulated' }
          : {}),
        lat: d.latitude,
        lng: d.longitude,
        loc: d.type === 'location' ? d.text : undefined,
        pollName: d.question,
        pollOptions: d.options?.map((name, localId) => ({ name, localId })),
        quotedStanzaID: d.quotedKey,
        notifyName: account(d.from).name,
        ...d.raw?.data,
      };
      const key = world.fromPhone(account(d.from), target(d.to), {
        type,
        data: JSON.parse(JSON.stringify(data)) as Record<string, unknown>,
        ...(d.asLid ? { asLid: true } : {}),
      });
      return { key };
    },
    received: (d: { phone: string }) => account(d.phone).received.filter((message) => message.type !== 'chatstate'),
    typingSeen: (d: { phone: string }) =>
      account(d.phone)
        .received.filter((message) => message.type === 'chatstate')
        .map((message) => ({ from: message.from, state: message.text })),
    history: (d: { phone: string }) => [...account(d.phone).history.values()],
    /** The phone that got a message acknowledges it: 2 delivered, 3 read, 4 played. */
    ack(d: { phone: string; key: string; ack: number }) {
      const by = account(d.phone);
      for (const sender of world.accounts.values()) {
        const message = sender.history.get(d.key);
        if (message?.fromMe) world.ack(sender, d.key, d.ack, phoneId(by));
      }
    },
    react: (d: { phone: string; key: string; emoji: string }) =>
      world.addon(account(d.phone), { kind: 'reaction', key: d.key, value: d.emoji }),
    edit: (d: { phone: string; key: string; text: string }) =>
      world.addon(account(d.phone), { kind: 'edit', key: d.key, value: d.text }),
    revoke: (d: { phone: string; key: string }) => world.addon(account(d.phone), { kind: 'revoke', key: d.key, value: null }),
    vote: (d: { phone: string; key: string; options: string[] }) =>
      world.addon(account(d.phone), { kind: 'vote', key: d.key, value: d.options }),
    call: (d: { from: string; to: string; isVideo?: boolean }) =>
      pushTo(account(d.to), {
        ev: 'call',
        d: { id: `call-${Date.now()}`, peerJid: phoneId(account(d.from)), isVideo: d.isVideo ?? false, isGroup: false },
      }),
    createGroup: (d: { by: string; subject: string; participants: string[] }) => ({
      id: world.groups.create(account(d.by), d.subject, d.participants),
    }),
    group: (d: { id: string }) => world.groups.wire(d.id),
    changeGroup: (d: { by: string; id: string; how: 'add' | 'remove' | 'promote' | 'demote'; participants: string[] }) =>
      world.groups[d.how](account(d.by), d.id, d.participants),
    setGroup: (d: { by: string; id: string; subject?: string; description?: string; announce?: boolean }) => {
      if (d.subject !== undefined) world.groups.subject(account(d.by), d.id, d.subject);
      if (d.description !== undefined) world.groups.description(account(d.by), d.id, d.description, 'phone');
      if (d.announce !== undefined) world.groups.property(account(d.by), d.id, 'announce', d.announce);
    },
    /** The phone's owner unlinks devices: all of them, or one. */
    phoneLogout(d: { phone: string; device?: string }) {
      const by = account(d.phone);
      for (const device of [...by.devices.values()]) {
        if (d.device && device.id !== d.device) continue;
        by.devices.delete(device.id);
        device.send?.({ ev: 'logged_out', d: null });
      }
    },
    conflict(d: { phone: string }) {
      for (const device of account(d.phone).devices.values()) device.send?.({ ev: 'conflict', d: null });
    },
    /** The line breaks; the page tries again by itself after `forMs`. */
    drop(d: { phone: string; forMs?: number }) {
      for (const device of account(d.phone).devices.values()) device.send?.({ ev: 'drop', d: { forMs: d.forMs ?? 500 } });
    },
    fault: (d: Fault) => world.faults.order(d),
    clearFaults: (_: object) => world.faults.clear(),
    restrict(d: { phone: string; reachOutLocked: boolean }) {
      account(d.phone).reachOutLocked = d.reachOutLocked;
    },
    setAccount: (d: { phone: string; offline?: boolean; autoRead?: boolean; ackDelayMs?: number; name?: string }) =>
      show(world.create(d).phone),
    journal: (d: { since?: number }) => world.journal.since(d.since ?? 0),
    missing: (_: object) => [...missing],
    /** Takes effect for pages that load from now on. */
    setPage: (d: Partial<PageOptions>) => Object.assign(page, d),
    setAcks: (d: { chained: boolean }) => void (world.settings.chainAcks = d.chained),
  };
}

export type ControlOperations = ReturnType<typeof controlOperations>;

const phonePage = join(import.meta.dirname, '../page/phone.html');

export function createControl(parts: Parameters<typeof controlOperations>[0]) {
  const operations = controlOperations(parts) as unknown as Record<string, (d: unknown) => unknown>;

  return async function control(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const { pathname } = new URL(req.url ?? '/', 'http://localhost');
    if (req.method === 'GET' && (pathname === '/' || pathname === '/phone')) {
      res.writeHead(200, {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': "default-src 'self' 'unsafe-inline'; img-src 'self' data: blob:",
      });
      return void res.end(readFileSync(phonePage));
    }
    if (req.method === 'GET' && pathname.startsWith('/mms/')) {
      const bytes = parts.world.media.get(pathname);
      return void (bytes
        ? res.writeHead(200, { 'content-type': 'application/octet-stream', 'x-content-type-options': 'nosniff' }).end(bytes)
        : res.writeHead(404).end());
    }
    const name = pathname.replace('/api/', '');
    if (req.method !== 'POST' || !Object.hasOwn(operations, name))
      return void json(res, 404, { error: `There is no ${req.method} ${pathname}` });
    // Another site's page must not order things here, even on loopback: JSON needs a preflight that we never grant.
    if (!req.headers['content-type']?.startsWith('application/json'))
      return void json(res, 415, { error: 'Send application/json' });
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of req) chunks.push(chunk as Buffer);
      json(res, 200, { result: operations[name]!(JSON.parse(Buffer.concat(chunks).toString() || '{}')) ?? null });
    } catch (error) {
      const { status, message } = error as { status?: number; message: string };
      json(res, status ?? 500, { error: message });
    }
  };
}

const json = (res: ServerResponse, status: number, body: unknown): void =>
  void res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
