import { lidId, phoneId, pushTo, type Account, type Device } from './accounts.js';
import type { Clock } from './clock.js';
import type { Groups } from './groups.js';
import { isGroup } from './messages.js';
import type { Phones } from './phones.js';
import { Refusal } from './refusal.js';
import type { WireMessage } from './wire.js';

export interface AddonRequest {
  kind: string;
  key: string;
  value: unknown;
}

interface Change {
  message: WireMessage;
  /** The author, as the owner of this copy sees them. */
  writer: string;
  value: unknown;
  t: number;
}

/** An edit from a page contains the mentions of the new text; one from a phone is the text alone. */
function editOf(value: unknown): { text: string; mentioned: Record<string, unknown> } {
  if (typeof value === 'string') return { text: value, mentioned: {} };
  const { text, ...mentioned } = value as { text: string };
  return { text, mentioned };
}

/** One kind of addition to a message: who may add it, and how it changes each copy. */
type Writers = 'author' | 'author or admin' | 'anyone' | 'who may edit the group';
const kinds: Record<string, { by: Writers; apply: (change: Change) => void; mine?: true }> = {
  edit: {
    by: 'author',
    apply: ({ message, value, t }) => {
      const field = typeof message.data['caption'] === 'string' ? 'caption' : 'body';
      const { text, mentioned } = editOf(value);
      message.data = { ...message.data, ...mentioned, [field]: text, latestEditSenderTimestampMs: t * 1000 };
    },
  },
  event: {
    by: 'author',
    apply: ({ message, value, t }) => {
      message.data = { ...message.data, ...(value as object), latestEditSenderTimestampMs: t * 1000 };
    },
  },
  /** `value`: the key under which pages show the deletion, if it is not the message's own. */
  revoke: {
    by: 'author or admin',
    apply: ({ message, value }) => Object.assign(message, { type: 'revoked', data: value ? { shownUnder: value } : {} }),
  },
  reaction: {
    by: 'anyone',
    apply: ({ message, writer, value, t }) => {
      if (value) message.marks.reactions[writer] = { emoji: String(value), t };
      else delete message.marks.reactions[writer];
    },
  },
  vote: {
    by: 'anyone',
    apply: ({ message, writer, value, t }) => {
      message.marks.votes[writer] = { options: value as string[], t };
    },
  },
  response: {
    by: 'anyone',
    apply: ({ message, writer, value, t }) => {
      message.marks.responses[writer] = { response: Number(value), t };
    },
  },
  pin: {
    by: 'who may edit the group',
    apply: ({ message, writer, value, t }) => {
      message.marks.pin = value ? { by: writer, t, seconds: Number(value) } : null;
    },
  },
  star: { by: 'anyone', mine: true, apply: ({ message, value }) => void (message.marks.star = Boolean(value)) },
};

/** Additions to a message: edits, revokes, reactions, votes, pins, stars. They are sent to every account that has the message. */
export function createAddons({ phones, groups, clock }: { phones: Phones; groups: Groups; clock: Clock }) {
  function allowed(by: Account, own: WireMessage, who: Writers): boolean {
    if (who === 'who may edit the group') return !groups.groups.get(own.chat)?.restrict || groups.isAdmin(own.chat, by);
    if (who === 'anyone' || own.fromMe) return true;
    return who === 'author or admin' && isGroup(own.chat) && groups.isAdmin(own.chat, by);
  }

  return function addon(by: Account, request: AddonRequest, but?: Device | null): void {
    const kind = Object.hasOwn(kinds, request.kind) ? kinds[request.kind] : undefined;
    if (!kind) throw new Refusal(501, `the simulator knows nothing called ${request.kind}`);
    const own = by.history.get(request.key);
    if (!own) throw new Refusal(404, 'no such message');
    if (!allowed(by, own, kind.by)) throw new Refusal(403, 'not-authorized');
    const t = clock.seconds();
    for (const account of kind.mine ? [by] : phones.accounts.values()) {
      const message = account.history.get(request.key);
      if (!message) continue;
      const writer = account === by ? 'me' : seenBy(message, by);
      kind.apply({ message, writer, value: request.value, t });
      show(account, by, request);
      pushTo(
        account,
        {
          ev: 'addon',
          d: {
            ...request,
            chat: message.chat,
            fromMe: message.fromMe,
            author: message.author,
            by: writer,
            byMe: account === by,
            t,
          },
        },
        but,
      );
    }
  };

  function seenBy(message: WireMessage, by: Account): string {
    if (isGroup(message.chat)) return groups.memberId(message.chat, by);
    return message.chat.endsWith('@lid') ? lidId(by) : phoneId(by);
  }
}

/** Changes what the phone shows. */
function show(account: Account, by: Account, { kind, key, value }: AddonRequest): void {
  if (account === by) return;
  const received = account.received.findLast((message) => message.key === key);
  if (!received) return;
  if (kind === 'edit')
    Object.assign(received, { [received.caption === null ? 'text' : 'caption']: editOf(value).text, edited: true });
  if (kind === 'revoke') received.revoked = true;
  if (kind === 'reaction') received.reactions[by.phone] = String(value ?? '');
  if (kind === 'vote') received.votes[by.phone] = value as string[];
}
