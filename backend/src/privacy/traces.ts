import { erased, parseMessageKey } from '@chasqui/shared';

/** All forms in which one person appears: ids of chats and people (`5511…@c.us`, `…@lid`) and the number, with and without `+`. */
export class Traces {
  private readonly ids = new Set<string>();
  private readonly numbers = new Set<string>();
  /** The part of each id before the `@`, with which a text mentions the person. */
  private readonly users = new Set<string>();

  constructor(ids: Iterable<string>) {
    for (const id of ids) this.add(id);
  }

  /** Returns whether it was new. */
  add(id: string | null | undefined): boolean {
    if (!id || this.ids.has(id)) return false;
    this.ids.add(id);
    const [, digits] = /^(\d+)@(c\.us|s\.whatsapp\.net)$/.exec(id) ?? [];
    if (digits) this.numbers.add(digits);
    const [, user] = /^(\d+)@/.exec(id) ?? [];
    if (user) this.users.add(user);
    return true;
  }

  all(): string[] {
    return [...this.ids];
  }

  has(id: string | null | undefined): boolean {
    return typeof id === 'string' && this.ids.has(id);
  }

  /** Whether a text may contain one of the forms. A cheap test before a closer one. */
  mayBeIn(text: string): boolean {
    for (const id of this.ids) if (contains(text, id)) return true;
    for (const user of this.users) if (contains(text, user)) return true;
    return false;
  }

  /** Whether `removeFrom` would change a value. */
  isIn(value: unknown): boolean {
    return JSON.stringify(this.removeFrom(value)) !== JSON.stringify(value);
  }

  /**
   * Returns the value without the person: an id of the person is redacted, and each text that is one of the forms, or a WhatsApp message id that
   * contains one, is removed. Texts of other people that only mention a number stay.
   */
  removeFrom(value: unknown): unknown {
    if (typeof value === 'string') return this.isForm(value) ? erased : this.withoutMentions(value);
    if (Array.isArray(value)) return value.map((item) => this.removeFrom(item));
    if (typeof value !== 'object' || value === null) return value;
    const { id, phone, vcard } = value as { id?: unknown; phone?: unknown; vcard?: unknown };
    const isThem = this.isForm(id) || this.isForm(phone) || (typeof vcard === 'string' && this.mayBeIn(vcard));
    return Object.fromEntries(
      Object.entries(value).map(([name, part]) => [
        name,
        isThem && personal.has(name) ? (name === 'id' ? erased : null) : this.removeFrom(part),
      ]),
    );
  }

  /** Returns a text with each mention of the person (`@5511…`, as WhatsApp writes it) replaced. What others wrote otherwise stays. */
  withoutMentions(text: string): string {
    if (!text.includes('@')) return text;
    let result = text;
    for (const user of this.users) result = result.replace(new RegExp(`@\\+?${user}(?!\\d)`, 'g'), `@${erased}`);
    return result;
  }

  private isForm(value: unknown): boolean {
    if (typeof value !== 'string') return false;
    if (this.ids.has(value) || this.numbers.has(value.replace(/^\+/, ''))) return true;
    const message = parseMessageKey(value);
    return message !== null && this.mayBeIn(value);
  }
}

const personal = new Set(['id', 'phone', 'lid', 'name', 'pushName', 'number', 'vcard']);

/** Whether a text contains a form, and not only as a part of a longer number, which belongs to another person. The text may be JSON. */
function contains(text: string, form: string): boolean {
  for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1)) {
    const isPart = /\d$/.test(text.slice(Math.max(0, at - 1), at)) && !/\\u[\da-f]{4}$/.test(text.slice(Math.max(0, at - 6), at));
    if (!isPart && !/\d\d/.test(form.slice(-1) + text.slice(at + form.length, at + form.length + 1))) return true;
  }
  return false;
}
