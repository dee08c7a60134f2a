/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

/** Reads people and the names of chats. Nothing here changes anything. */
function installContacts(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['describe']) return;
  core.calls['describe'] = ({ ids }: { ids: string[] }) => Promise.all(ids.map((id) => describeId(core, win, id)));
  core.calls['exists'] = ({ ids }: { ids: string[] }) => Promise.all(ids.map((id) => registeredAs(core, id)));
}

/** A person or a chat, as the page knows it. */
export interface Described {
  id: string;
  lid: string | null;
  phone: string | null;
  name: string | null;
  /** Whether the name comes from the phone's address book. */
  isSaved: boolean;
  /** The reason why the page could not read the contact. */
  failed?: string;
}

/** Returns the ids and the name of a person, or the name of a chat. Never rejects. */
async function describeId(core: PageCore, win: PageWindow, id: string): Promise<Described> {
  const unnamed = { id, lid: null, phone: null, name: null, isSaved: false };
  try {
    if (/@(c\.us|lid)$/.test(id)) return await describePerson(core, win, id);
    const chat = /@newsletter$/.test(id) ? core.collections().WAWebNewsletterCollection?.get(id) : core.chatOf(id);
    return { ...unnamed, name: core.nameOf(chat) };
  } catch (error: any) {
    return { ...unnamed, failed: String(error?.name ?? error) };
  }
}

async function describePerson(core: PageCore, win: PageWindow, id: string): Promise<Described> {
  const { lid, phone } = await win.WWebJS.enforceLidAndPnRetrieval(id);
  const { Contact } = core.collections();
  // The two ids of one person may each have a contact, and only one of them has the name from the address book.
  let known = [core.widOf(id), phone, lid].flatMap((wid) => (wid && Contact.get(wid)) || []);
  if (known.length === 0) known = [await loadContact(core, core.widOf(id))].filter(Boolean);
  const first = (field: string): string | null => known.map((contact: any) => contact[field]).find(Boolean) ?? null;
  const name = first('name') ?? first('verifiedName') ?? first('pushname');
  return { id, lid: core.idOf(lid), phone: core.idOf(phone), name, isSaved: first('name') !== null };
}

/** Loads a contact that the page has not loaded yet; undefined when that takes longer than 1.5 seconds. */
function loadContact(core: PageCore, wid: any): Promise<any> {
  return Promise.race([
    Promise.resolve(core.collections().Contact.find(wid)).catch(() => undefined),
    new Promise((resolve) => setTimeout(resolve, 1_500)),
  ]);
}

/** Returns the id that WhatsApp uses for a person or chat; `wid` is null if there is none. Asks WhatsApp's server about people. */
async function registeredAs(core: PageCore, id: string): Promise<{ id: string; wid: string | null }> {
  if (!/@(c\.us|lid)$/.test(id)) return { id, wid: core.chatOf(id) ? id : null };
  const wid = core.widOf(id);
  const result = await core.module('WAWebQueryExistsJob').queryWidExists(wid);
  if (result?.wid) return { id, wid: core.idOf(result.wid) };
  // A LID may not be searchable; one with a chat or a contact exists.
  const known = wid.isLid?.() && (core.chatOf(id) || core.collections().Contact.get(wid));
  return { id, wid: known ? id : null };
}

export const contactsScript = pageScript(installContacts, [describeId, describePerson, loadContact, registeredAs]);
