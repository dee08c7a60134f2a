/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import { comparedNameLength, parseRecipient, readContactCursor } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { readContact, readContacts } from './contact-rows.js';
import { need, read, type OperationHandlers } from './context.js';
import { aboutOf, askingAbout, askingPictures, pictureOf } from './people.js';

const asking = [need('WAWebQueryExistsJob', 'queryWidExists')];
const finding = [need('WAWebCollections', 'Contact.getModelsArray', 'Contact.get')];
const listing = need('WAWebCollections', 'Blocklist.get');

export const contacts: OperationHandlers<'contacts'> = {
  'contacts.list': read('contacts.list', {
    needs: finding,
    run: ({ search, saved, limit, offset, cursor }, context) => {
      const after = cursor === undefined ? null : readContactCursor(cursor);
      return readContacts({ search, saved, limit, offset: after ? 0 : offset, after, comparedNameLength }, context);
    },
  }),
  /**
   * Asks WhatsApp which numbers are registered. An input that is not a number counts as not registered, without a query. `normalised` is the
   * number as WhatsApp writes it, which may differ from the input. For a number that is not registered it is derived from the input alone.
   */
  'contacts.check': read('contacts.check', {
    needs: asking,
    async run({ numbers, countryCode }, { call, identities, registered }) {
      const parsed = numbers.map((input) => ({ input, id: personId(input, countryCode) }));
      const ids = [...new Set(parsed.flatMap(({ id }) => id ?? []))];
      const unknown = ids.filter((id) => registered.get(id) === undefined);
      const answers = unknown.length > 0 ? await call<{ id: string; wid: string | null }[]>('exists', { ids: unknown }) : [];
      for (const { id, wid } of answers) registered.set(id, wid);
      const found = new Map([
        ...ids.map((id) => [id, registered.get(id)] as const),
        ...answers.map(({ id, wid }) => [id, wid] as const),
      ]);
      await identities.learn([...found.values()].map((wid) => wid ?? null));
      return parsed.map(({ input, id }) => {
        const wid = id === null ? null : found.get(id);
        if (wid === null || wid === undefined) return { input, normalised: id, registered: false, contact: null };
        const contact = identities.contact(wid);
        return { input, normalised: contact.phone ? contact.id : id, registered: true, contact };
      });
    },
  }),
  'contacts.resolve': read('contacts.resolve', {
    needs: asking,
    async run({ ids }, { inPage, identities }) {
      await inPage(learnOtherIds, { ids, atOnce: 5 });
      await identities.refresh(ids);
      return ids.map(identities.contact);
    },
  }),
  'contacts.blocked': read('contacts.blocked', {
    needs: [...finding, need('WAWebCollections', 'Blocklist.getModelsArray')],
    run: (_, context) => readContacts({ blocked: true }, context),
  }),
  'contacts.get': read('contacts.get', {
    needs: [...finding, ...asking],
    run: ({ contactId }, context) => readContact(contactId, context),
  }),
  'contacts.save': change('contacts.save', {
    needs: [need('WAWebSaveContactAction', 'saveContactAction'), ...finding, ...asking],
    prepare: ({ contactId, firstName, lastName, syncToPhone }) => ({
      contactId,
      firstName,
      lastName: lastName || null,
      syncToPhone,
    }),
    before: phoneToSave,
    act: save,
    effect: isSaved,
    done: ({ contactId }, context) => readContact(contactId, context),
  }),
  'contacts.delete': change('contacts.delete', {
    needs: [need('WAWebDeleteContactAction', 'deleteContactAction'), ...finding],
    before: phoneToDelete,
    act: remove,
    effect: isRemoved,
    done: async ({ contactId }) => ({ id: contactId, deleted: true as const }),
  }),
  'contacts.block': change('contacts.block', {
    needs: [
      need('WAWebBlockContactAction', 'blockContact'),
      need('WAWebFindChatAction', 'findOrCreateLatestChat'),
      ...[listing, ...asking],
    ],
    prepare: ({ contactId }) => ({ contactId, isBlocked: true }),
    before: personToBlock,
    act: block,
    effect: isBlocked,
    done: ({ contactId }, context) => readContact(contactId, context),
  }),
  'contacts.unblock': change('contacts.unblock', {
    needs: [need('WAWebBlockContactAction', 'unblockContact'), listing, ...asking],
    prepare: ({ contactId }) => ({ contactId, isBlocked: false }),
    before: personToBlock,
    act: unblock,
    effect: isBlocked,
    done: ({ contactId }, context) => readContact(contactId, context),
  }),
  'contacts.about': read('contacts.about', {
    needs: askingAbout,
    run: async ({ contactId }, { inPage }) => ({ about: await inPage(aboutOf, { id: contactId }) }),
  }),
  'contacts.picture': read('contacts.picture', {
    needs: askingPictures,
    run: async ({ contactId }, { inPage }) => ({ url: await inPage(pictureOf, { id: contactId }) }),
  }),
  'contacts.commonGroups': read('contacts.commonGroups', {
    needs: [need('WAWebFindCommonGroupsContactAction', 'findCommonGroups'), need('WAWebCollections', 'Contact.find')],
    run: ({ contactId }, { inPage }) => inPage(commonGroups, { contactId }),
  }),
};

/** Returns the id of the person that a caller named. Null: the text is not a person's number. */
function personId(input: string, countryCode: string | undefined): string | null {
  const result = parseRecipient(input, countryCode);
  return result.ok && (result.address.kind === 'phone' || result.address.kind === 'lid') ? result.address.id : null;
}

interface OfContact {
  contactId: string;
}

/** Runs in the page. Asks WhatsApp's server about people of whom the page knows only one id. A person who is not found keeps one id. */
async function learnOtherIds(core: PageCore, { ids, atOnce }: { ids: string[]; atOnce: number }): Promise<void> {
  const waiting = ids.filter((id) => core.otherIdOf(core.widOf(id)) === null);
  const { queryWidExists } = core.module('WAWebQueryExistsJob');
  const one = async (): Promise<void> => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) await queryWidExists(core.widOf(id));
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}

/** Runs in the page. Returns the phone number, by which WhatsApp saves people. Refuses if it is hidden. */
async function phoneToSave(core: PageCore, { contactId }: OfContact): Promise<string> {
  const wid = core.widOf(contactId);
  if (wid.isLid?.() && !core.otherIdOf(wid)) await core.module('WAWebQueryExistsJob').queryWidExists(wid);
  const phone = wid.isLid?.() ? core.otherIdOf(wid) : wid;
  if (!phone)
    core.refuse('INVALID_RECIPIENT', {
      input: contactId,
      reason: 'WhatsApp saves people by phone number, and this one is hidden.',
    });
  return core.serialized(phone);
}

interface Saved extends OfContact {
  firstName: string;
  lastName: string | null;
  syncToPhone: boolean;
}

/** Runs in the page. */
async function save(core: PageCore, { firstName, lastName, syncToPhone }: Saved, phone: string): Promise<void> {
  const phoneNumber = phone.replace(/@.*/, '');
  await core.module('WAWebSaveContactAction').saveContactAction({
    firstName,
    lastName: lastName ?? undefined,
    phoneNumber,
    prevPhoneNumber: phoneNumber,
    syncToAddressbook: syncToPhone,
    username: undefined,
  });
}

/** Runs in the page. */
function isSaved(core: PageCore, { firstName, lastName }: Saved, phone: string): boolean {
  const { Contact } = core.collections();
  const wid = core.widOf(phone);
  const name = [firstName, lastName].filter(Boolean).join(' ');
  return [wid, core.otherIdOf(wid)].some((id) => id && Contact.get(id)?.name === name);
}

/** Runs in the page. Returns the phone number of a saved person. Refuses if the person is not saved or the number is hidden. */
function phoneToDelete(core: PageCore, { contactId }: OfContact): string {
  const { Contact } = core.collections();
  const wid = core.widOf(contactId);
  const both = [wid, core.otherIdOf(wid)].filter(Boolean);
  if (!both.some((id) => Contact.get(id)?.name))
    core.refuse('CONTACT_NOT_FOUND', { contactId, reason: 'The person is not saved.' });
  const phone = both.find((id) => !id.isLid?.());
  if (!phone)
    core.refuse('INVALID_RECIPIENT', {
      input: contactId,
      reason: 'WhatsApp removes people by phone number, and this one is hidden.',
    });
  return core.serialized(phone);
}

/** Runs in the page. */
async function remove(core: PageCore, _: OfContact, phone: string): Promise<void> {
  await core.module('WAWebDeleteContactAction').deleteContactAction({ phoneNumber: core.widOf(phone) });
}

/** Runs in the page. Whether neither contact of the person has a name from the address book any more. */
function isRemoved(core: PageCore, _: OfContact, phone: string): boolean {
  const { Contact } = core.collections();
  const wid = core.widOf(phone);
  return [wid, core.otherIdOf(wid)].every((id) => !id || !Contact.get(id)?.name);
}

interface Blocked extends OfContact {
  isBlocked: boolean;
}

/** The ids of a person as texts. */
interface Blockable {
  lid: string;
  phone: string | null;
}

/** Runs in the page. WhatsApp blocks a person by LID. */
async function personToBlock(core: PageCore, { contactId }: Blocked): Promise<Blockable> {
  const wid = core.widOf(contactId);
  if (!core.otherIdOf(wid)) await core.module('WAWebQueryExistsJob').queryWidExists(wid);
  const other = core.otherIdOf(wid);
  const [lid, phone] = wid.isLid?.() ? [wid, other] : [other, wid];
  if (!lid) core.refuse('CONTACT_NOT_FOUND', { contactId, reason: 'WhatsApp has no LID for this person.' });
  return { lid: core.serialized(lid), phone: core.idOf(phone) };
}

/** Runs in the page. Opens the chat first: current builds throw a string when there is none. */
async function block(core: PageCore, { contactId }: Blocked, { lid, phone }: Blockable): Promise<void> {
  const contact = { id: core.widOf(lid), phoneNumber: phone ? core.widOf(phone) : undefined };
  await core.openChat(contactId);
  await core.module('WAWebBlockContactAction').blockContact({ contact, blockEntryPoint: 'ChatListBlock' });
}

/** Runs in the page. */
async function unblock(core: PageCore, _: Blocked, { lid, phone }: Blockable): Promise<void> {
  const contact = { id: core.widOf(lid), phoneNumber: phone ? core.widOf(phone) : undefined };
  await core.module('WAWebBlockContactAction').unblockContact(contact, 'ChatListBlock');
}

/** Runs in the page. */
function isBlocked(core: PageCore, { contactId, isBlocked }: Blocked): boolean {
  const { Blocklist } = core.collections();
  const wid = core.widOf(contactId);
  const found = [wid, core.otherIdOf(wid)].some((id) => id && Blocklist.get(id));
  return found === isBlocked;
}

/** Runs in the page. */
async function commonGroups(core: PageCore, { contactId }: OfContact): Promise<{ id: string; name: string | null }[]> {
  const contact = await core.collections().Contact.find(core.widOf(contactId));
  const found = await core.module('WAWebFindCommonGroupsContactAction').findCommonGroups(contact);
  const groups: any[] = found?.getModelsArray?.() ?? [];
  return groups.map(({ id }) => ({ id: core.serialized(id), name: core.nameOf(core.chatOf(core.serialized(id))) }));
}
