/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { phoneOf, type ContactDetails, type ContactPlace } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import type { OperationContext } from './context.js';

/** Reads people from the page and converts them to the API's form. */

export interface PageContact {
  phone: string | null;
  lid: string | null;
  savedName: string | null;
  pushName: string | null;
  verifiedName: string | null;
  isBusiness: boolean;
  isBlocked: boolean;
}

/** Which people are read: one person, those who are blocked, or one page of the list of all, by name. */
export type ContactSelection =
  | { id: string }
  | { blocked: true }
  | {
      search?: string | undefined;
      saved?: boolean | undefined;
      limit: number;
      offset: number;
      /** The page begins behind this person, who need not exist any more. */
      after: ContactPlace | null;
      /** Names are compared up to this length. */
      comparedNameLength: number;
    };

/**
 * Runs in the page. The two ids of a person may each have a contact; they become one row. A contact that cannot be read is left out. Business
 * profiles are not read, because each needs a request to WhatsApp's server.
 */
export function contactRows(core: PageCore, selection: ContactSelection): PageContact[] {
  const { Contact, Blocklist } = core.collections();
  const people = new Map<string, PageContact>();
  const own = core.me().map((id) => core.serialized(id));
  const blocked = new Set<string>(Blocklist.getModelsArray().map((one: any) => core.serialized(one.id)));
  const add = (wid: any, contact: any): void => {
    try {
      const id = core.serialized(wid);
      if (!/@(c\.us|lid)$/.test(id) || own.includes(id) || id === '0@c.us') return;
      const other = core.otherIdOf(wid);
      const [lid, phone] = /@lid$/.test(id) ? [id, core.idOf(other ?? contact?.phoneNumber)] : [core.idOf(other), id];
      const known = people.get(lid ?? phone!) ?? { phone, lid, savedName: null, pushName: null, verifiedName: null };
      people.set(lid ?? phone!, {
        phone: known.phone ?? phone,
        lid: known.lid ?? lid,
        savedName: known.savedName ?? contact?.name ?? null,
        pushName: known.pushName ?? contact?.pushname ?? null,
        verifiedName: known.verifiedName ?? contact?.verifiedName ?? null,
        isBusiness: ('isBusiness' in known && known.isBusiness) || contact?.isBusiness === true,
        isBlocked: [lid, phone].some((one) => one !== null && blocked.has(one)),
      });
    } catch {
      // This contact cannot be read; the others are returned.
    }
  };
  if ('id' in selection) {
    const wid = core.widOf(selection.id);
    const known = [wid, core.otherIdOf(wid)].filter(Boolean).map((one) => [one, Contact.get(one)] as const);
    for (const [one, contact] of known) if (contact) add(one, contact);
    return [...people.values()];
  }
  if ('blocked' in selection) {
    for (const { id } of Blocklist.getModelsArray()) add(id, Contact.get(id) ?? Contact.get(core.otherIdOf(id) ?? id));
    return [...people.values()];
  }
  for (const contact of Contact.getModelsArray()) add(contact.id, contact);
  const { search, saved, limit, offset, after, comparedNameLength } = selection;
  const plain = (text: string): string => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
  const wanted = plain(search ?? '');
  const digits = /^[\d\s()+.-]+$/.test(wanted) ? wanted.replace(/\D/g, '') : '';
  const matches = (one: PageContact): boolean =>
    [one.savedName, one.pushName, one.verifiedName].some((name) => name !== null && plain(name).includes(wanted)) ||
    (digits !== '' && (one.phone ?? '').replace(/@.*/, '').includes(digits));
  const nameOf = (one: PageContact): string =>
    (one.savedName ?? one.verifiedName ?? one.pushName ?? '').slice(0, comparedNameLength);
  const { compare: compareNames } = new Intl.Collator('en');
  // People without a name come last, by their ids.
  const compare = (a: ContactPlace, b: ContactPlace): number =>
    Number(a.name === '') - Number(b.name === '') || compareNames(a.name, b.name) || (a.id === b.id ? 0 : a.id < b.id ? -1 : 1);
  return [...people.values()]
    .filter((one) => saved === undefined || (one.savedName !== null) === saved)
    .filter((one) => wanted === '' || matches(one))
    .map((one) => ({ one, name: nameOf(one), id: one.phone ?? one.lid ?? '' }))
    .filter((one) => after === null || compare(one, after) > 0)
    .sort(compare)
    .slice(offset, offset + limit)
    .map(({ one }) => one);
}

/** Reads people from the page. */
export const readContacts = async (selection: ContactSelection, { inPage }: OperationContext): Promise<ContactDetails[]> =>
  (await inPage(contactRows, selection)).map(detailsOf);

/** Returns one person, from the page or else from WhatsApp's server. Refuses with `CONTACT_NOT_FOUND`. */
export async function readContact(id: string, { inPage }: OperationContext): Promise<ContactDetails> {
  const [known] = await inPage(contactRows, { id });
  if (known) return detailsOf(known);
  return detailsOf(await inPage(registeredPerson, { id }));
}

/** Runs in the page. */
async function registeredPerson(core: PageCore, { id }: { id: string }): Promise<PageContact> {
  const wid = core.widOf(id);
  const found = await core.module('WAWebQueryExistsJob').queryWidExists(wid);
  if (!found?.wid) core.refuse('CONTACT_NOT_FOUND', { contactId: id });
  const ids = [found.wid, core.otherIdOf(found.wid)].flatMap((one) => core.idOf(one) ?? []);
  const lid = ids.find((one) => /@lid$/.test(one)) ?? null;
  const phone = ids.find((one) => /@c\.us$/.test(one)) ?? null;
  const isBlocked = ids.some((one) => Boolean(core.collections().Blocklist.get(core.widOf(one))));
  return { phone, lid, savedName: null, pushName: null, verifiedName: null, isBusiness: found.biz === true, isBlocked };
}

const detailsOf = ({ phone, lid, savedName, pushName, verifiedName, isBusiness, isBlocked }: PageContact): ContactDetails => ({
  id: phone ?? lid ?? '',
  phone: phoneOf(phone),
  lid,
  name: savedName ?? verifiedName ?? pushName,
  pushName,
  savedName,
  isBusiness,
  isBlocked,
  isSaved: savedName !== null,
});
