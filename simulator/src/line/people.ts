import { randomBytes } from 'node:crypto';
import { contactOf, lidId, pushNow, pushTo, type Account } from '../accounts.js';
import { assertionFault, type Assertion } from '../passkeys.js';
import { Refusal } from '../refusal.js';
import type { OnLine, Ops } from './ops.js';

/** WhatsApp's palette of labels, as far as it is needed. */
const palette = ['#ff9485', '#64c4ff', '#ffd429', '#dfaef0', '#99b6c1', '#55ccb3', '#ff9dff', '#d3a91d', '#6d7cce', '#d7e752'];
export const labelColor = (colorIndex: number) => ({ colorIndex, color: palette[colorIndex % palette.length]! });

/** WhatsApp's verdict on the answer to its check of an account. A right answer ends the check. */
function answerChallenge(account: Account, given: Assertion): { success: boolean; error_message?: string } {
  const { challenge, passkey } = account;
  if (challenge?.type !== 'PASSKEY') return { success: false, error_message: 'no check is open' };
  const missing =
    passkey === null ? 'the account has no passkey' : challenge.prf && !given.prf ? 'the output of prf is missing' : null;
  const fault = missing ?? assertionFault(passkey!, challenge.request, given);
  if (fault) return { success: false, error_message: fault };
  account.challenge = null;
  return { success: true };
}

/** Contacts, the own profile, blocks, labels, notes, calls. */
export function peopleOps({ world, me, device }: OnLine): Ops {
  const { phones } = world;
  const business = () => {
    if (!me().isBusiness) throw new Refusal(403, 'for business accounts only');
    return me();
  };
  const labelOf = (id: string) => {
    const found = business().labels.find((label) => label.id === id);
    if (!found) throw new Refusal(404, 'no such label');
    return found;
  };
  return {
    exists(d: { id: string }) {
      const found = phones.lookUp(d.id);
      return found ? contactOf(found, me()) : null;
    },
    contact_save(d: { phone: string; name: string | null }) {
      const found = phones.find(`${d.phone}@c.us`);
      if (!found) throw new Refusal(404, 'not on WhatsApp');
      me().contacts.set(found.phone, d.name);
      pushTo(me(), { ev: 'contact', d: contactOf(found, me()) }, device());
      return contactOf(found, me());
    },
    devices: (d: { ids: string[] }) => d.ids.map((id) => 1 + (phones.find(id)?.devices.size ?? -1)),
    presence: (d: { available: boolean }) => world.presence.show(me(), d.available ? 'available' : 'unavailable', null),
    presence_subscribe: (d: { chat: string }) => world.presence.subscribe(device(), me(), d.chat),
    profile(d: { name?: string; about?: string; picture?: string | null }) {
      const { name, about, picture } = d;
      Object.assign(
        me(),
        name === undefined ? {} : { name },
        about === undefined ? {} : { about },
        picture === undefined ? {} : { picture },
      );
      phones.announce(me());
    },
    about: (d: { id: string }) => phones.find(d.id)?.about ?? null,
    picture(d: { id: string }) {
      if (d.id.endsWith('@g.us')) return world.groups.wire(d.id).picture;
      if (d.id.endsWith('@newsletter')) return world.channels.wire(d.id, me()).picture;
      return phones.find(d.id)?.picture ?? null;
    },
    block(d: { id: string; blocked: boolean }) {
      const found = d.id.endsWith('@lid') ? phones.find(d.id) : null;
      if (!found) throw new Refusal(400, 'a contact is blocked by its LID');
      if (d.blocked) me().blocked.add(lidId(found));
      else me().blocked.delete(lidId(found));
      pushTo(me(), { ev: 'blocked', d: { id: lidId(found), blocked: d.blocked } }, device());
    },
    label_add(d: { name: string; colorIndex: number }) {
      const id = String(1 + Math.max(0, ...business().labels.map((label) => Number(label.id) || 0)));
      const label = { id, name: d.name, ...labelColor(d.colorIndex), chats: [] };
      me().labels.push(label);
      pushTo(me(), { ev: 'labels', d: me().labels }, device());
      return label;
    },
    label_edit(d: { id: string; name: string; colorIndex: number }) {
      const label = labelOf(d.id);
      Object.assign(label, { name: d.name }, labelColor(d.colorIndex));
      pushTo(me(), { ev: 'labels', d: me().labels }, device());
      return label;
    },
    label_delete(d: { id: string }) {
      me().labels = business().labels.filter((label) => label !== labelOf(d.id));
      pushTo(me(), { ev: 'labels', d: me().labels }, device());
    },
    label_assign(d: { chat: string; labels: string[] }) {
      for (const label of business().labels) {
        label.chats = label.chats.filter((chat) => chat !== d.chat);
        if (d.labels.includes(label.id)) label.chats.push(d.chat);
      }
      pushTo(me(), { ev: 'labels', d: me().labels }, device());
    },
    note_set: (d: { chat: string; text: string }) =>
      void business().notes.set(d.chat, { text: d.text, t: world.clock.seconds() }),
    note_get: (d: { chat: string }) => business().notes.get(d.chat) ?? null,
    reach_out_lock: () => ({ locked: me().reachOutLocked, until: me().reachOutUntil }),
    reach_out: () => ({ locked: me().reachOutLocked, until: me().reachOutUntil, challenge: me().challenge }),
    challenge_response: (d: { given: Assertion }) => answerChallenge(me(), d.given),
    call_link: (d: { type: string }) => `https://call.whatsapp.com/${d.type}/${randomBytes(11).toString('base64url')}`,
    call_reject(d: { id: string }) {
      const call = me().calls.find((candidate) => candidate.id === d.id);
      if (!call) throw new Refusal(404, 'no such call');
      // The caller has hung up meanwhile.
      if (call.state !== 'ringing') return;
      call.state = 'rejected';
      pushNow(me(), { ev: 'call_state', d: call });
    },
  };
}
