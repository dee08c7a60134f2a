import { lidId, newAccount, phoneId, pushTo, contactOf, type Account, type AccountOptions } from './accounts.js';

/**
 * All phones. A number that was never created is a phone too, one that silently receives messages; only those that begin with 999, and
 * those that were marked as gone, are not on WhatsApp.
 */
export function createPhones() {
  const accounts = new Map<string, Account>();
  const byLid = new Map<string, Account>();

  function add(account: Account): Account {
    accounts.set(account.phone, account);
    byLid.set(account.lid, account);
    return account;
  }

  /** Creates the phone, or changes the passed fields of an existing one. */
  function create(options: AccountOptions): Account {
    const known = accounts.get(options.phone);
    if (!known) return add(newAccount(options));
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    return Object.assign(known, given);
  }

  /** The account that WhatsApp returns for a lookup. It also finds other spellings, to which no message can be sent. */
  function lookUp(id: string): Account | null {
    const user = id.split('@')[0]!;
    return bySpelling(user) ?? find(id);
  }
  const bySpelling = (user: string): Account | null =>
    [...accounts.values()].find(({ spellings }) => spellings.includes(user)) ?? null;

  /** The account of an id, phone number or LID. Null if the number is not on WhatsApp. */
  function find(id: string): Account | null {
    const [user, server] = id.split('@') as [string, string | undefined];
    if (server === 'lid') return byLid.get(user) ?? null;
    if (server !== undefined && server !== 'c.us' && server !== 's.whatsapp.net') return null;
    const known = accounts.get(user);
    if (known) return known.gone ? null : known;
    if (bySpelling(user)) return null;
    return /^[1-9]\d{6,14}$/.test(user) && !user.startsWith('999') ? create({ phone: user }) : null;
  }

  /** Informs every account that has a chat with this one that its name, about text or picture has changed. */
  function announce(changed: Account): void {
    for (const viewer of accounts.values()) {
      if (viewer.devices.size === 0) continue;
      if (viewer === changed || viewer.chats.has(phoneId(changed)) || viewer.chats.has(lidId(changed)))
        pushTo(viewer, { ev: 'contact', d: contactOf(changed, viewer) });
    }
  }

  return { accounts, add, create, find, lookUp, announce };
}
export type Phones = ReturnType<typeof createPhones>;
