import { randomBytes } from 'node:crypto';
import type { Account, Device } from './accounts.js';
import type { World } from './world.js';
import { Refusal } from './world.js';

/** A page that is not linked yet: it shows codes until a phone takes one, or until they run out. */
export interface Waiting {
  ref: string;
  code: string | null;
  codePhone: string | null;
  push: (ev: string, d: unknown) => void;
  /** Called with the login that the page is to keep. */
  linked: (account: Account, device: Device) => void;
}

export interface LinkingOptions {
  refLifeMs: number;
  refCount: number;
}

export function createLinking(world: World, options: LinkingOptions) {
  const waiting = new Set<Waiting>();

  /** Shows codes, a new one each `refLifeMs`; after the last one the page is told that it idles. Gives back how to stop. */
  function show(page: Waiting): () => void {
    waiting.add(page);
    let left = options.refCount;
    let timer: NodeJS.Timeout;
    const next = (): void => {
      if (left-- <= 0) return page.push('ref_idle', null);
      page.ref = `2@${randomBytes(60).toString('base64')}`;
      page.push('ref', page.ref);
      timer = setTimeout(next, options.refLifeMs);
    };
    next();
    return () => {
      clearTimeout(timer);
      waiting.delete(page);
    };
  }

  function link(page: Waiting, phone: string): { device: string } {
    const account = world.create({ phone });
    const device: Device = {
      id: randomBytes(6).toString('hex'),
      token: randomBytes(24).toString('hex'),
      send: null,
      close: null,
      queue: [],
    };
    account.devices.set(device.id, device);
    waiting.delete(page);
    page.linked(account, device);
    return { device: device.id };
  }

  return {
    show,
    waiting: () => [...waiting].map((page) => ({ ref: page.ref, code: page.code, codePhone: page.codePhone })),
    /** `qr`: what the QR encodes, or its first part alone. */
    scan(qr: string, phone: string): { device: string } {
      const ref = qr.split(',')[0];
      const page = [...waiting].find((candidate) => candidate.ref === ref);
      if (!page) throw new Refusal(404, 'No page shows this code now. It may have been replaced by a newer one.');
      return link(page, phone);
    },
    pairingCode(page: Waiting, phone: string): string {
      page.code = Array.from(randomBytes(8), (byte) => 'ABCDEFGHJKLMNPQRSTVWXYZ123456789'[byte % 32]).join('');
      page.codePhone = phone;
      return page.code;
    },
    enterCode(code: string, phone: string): { device: string } {
      const page = [...waiting].find((candidate) => candidate.code === code.replace(/\W/g, '').toUpperCase());
      if (!page) throw new Refusal(404, 'No page shows this pairing code.');
      if (page.codePhone !== phone) throw new Refusal(409, 'The code was asked for with another number.');
      return link(page, phone);
    },
  };
}
export type Linking = ReturnType<typeof createLinking>;
