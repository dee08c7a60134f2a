import { randomBytes } from 'node:crypto';
import type { Account, Device } from './accounts.js';
import { assertionFault, passkeyRequest, type Assertion, type PasskeyRequest } from './passkeys.js';
import type { Phones } from './phones.js';
import { Refusal } from './refusal.js';

/** A page that is not linked yet. It shows codes until a phone scans one, or until all have expired. */
export interface Waiting {
  ref: string;
  code: string | null;
  codePhone: string | null;
  /** WhatsApp has requested the account's passkey from the page and waits for it. */
  passkey: { account: Account; request: PasskeyRequest } | null;
  push: (ev: string, d: unknown) => void;
  /** Called with the login that the page stores. */
  linked: (account: Account, device: Device) => void;
}

export interface LinkingOptions {
  refLifeMs: number;
  refCount: number;
}

const codeLetters = 'ABCDEFGHJKLMNPQRSTVWXYZ123456789';

export function createLinking(phones: Phones, options: LinkingOptions) {
  const waiting = new Set<Waiting>();

  /** Shows codes, a new one each `refLifeMs`. After the last one the page receives `ref_idle`. Returns a function that stops it. */
  function show(page: Waiting): () => void {
    waiting.add(page);
    let left = options.refCount;
    let timer: NodeJS.Timeout;
    const next = (): void => {
      if (left-- <= 0) {
        page.ref = '';
        return page.push('ref_idle', null);
      }
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

  function link(page: Waiting, phone: string): { device: string | null } {
    const account = phones.create({ phone, made: true });
    if (!account.passkey) return { device: admit(page, account) };
    page.passkey = { account, request: passkeyRequest(account.passkey) };
    page.push('passkey', page.passkey.request);
    return { device: null };
  }

  function admit(page: Waiting, account: Account): string {
    const device: Device = {
      id: randomBytes(6).toString('hex'),
      token: randomBytes(24).toString('hex'),
      line: null,
      queue: [],
      pushes: 0,
    };
    account.devices.set(device.id, device);
    waiting.delete(page);
    page.linked(account, device);
    return device.id;
  }

  return {
    show,
    waiting: () =>
      [...waiting].map((page) => ({
        ref: page.ref,
        code: page.code,
        codePhone: page.codePhone,
        passkey: page.passkey ? { phone: page.passkey.account.phone, request: page.passkey.request } : null,
      })),
    /** `qr`: the text of the QR code, or only its first part. `device` is null while the account's passkey is requested. */
    scan(qr: string, phone: string): { device: string | null } {
      const ref = qr.trim().split(',')[0];
      const page = [...waiting].find((candidate) => candidate.ref !== '' && candidate.ref === ref);
      if (!page) throw new Refusal(404, 'No page shows this code now. It may have been replaced by a newer one.');
      return link(page, phone);
    },
    pairingCode(page: Waiting, phone: string): string {
      page.code = Array.from(randomBytes(8), (byte) => codeLetters[byte % codeLetters.length]).join('');
      page.codePhone = phone;
      return page.code;
    },
    cancelCode(page: Waiting): void {
      Object.assign(page, { code: null, codePhone: null });
    },
    enterCode(code: string, phone: string): { device: string | null } {
      const plain = code.replace(/\W/g, '').toUpperCase();
      const page = [...waiting].find((candidate) => candidate.code !== null && candidate.code === plain);
      if (!page) throw new Refusal(404, 'No page shows this pairing code.');
      if (page.codePhone !== phone) throw new Refusal(409, 'The code was asked for with another number.');
      return link(page, phone);
    },
    /** The page answers with the signed assertion, or with null if it received none. */
    assertion(page: Waiting, given: Assertion | null): void {
      const { passkey } = page;
      if (!passkey) throw new Refusal(409, 'no passkey was asked for');
      page.passkey = null;
      const key = passkey.account.passkey;
      const fault = !given || !key ? 'no answer' : assertionFault(key, passkey.request, given);
      if (fault) throw new Refusal(401, `passkey refused: ${fault}`);
      admit(page, passkey.account);
    },
  };
}
export type Linking = ReturnType<typeof createLinking>;
