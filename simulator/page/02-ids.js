// Wid and MsgKey. Until 2026-07 both have their text in `_serialized`; since then in `$1`, and `_serialized` is undefined.
const written = drifted ? '$1' : '_serialized';

class Wid {
  constructor(user, server) {
    this.server = server;
    this.user = user;
    this[written] = `${user}@${server}`;
  }
  toString() {
    return this[written];
  }
  toJid() {
    return this.server === 'c.us' ? `${this.user}@s.whatsapp.net` : this[written];
  }
  isLid() {
    return this.server === 'lid';
  }
  isUser() {
    return this.server === 'c.us' || this.server === 'lid';
  }
  isRegularUser() {
    return this.isUser();
  }
  isGroup() {
    return this.server === 'g.us';
  }
  isNewsletter() {
    return this.server === 'newsletter';
  }
  isStatus() {
    return this.user === 'status' && this.server === 'broadcast';
  }
  isBroadcast() {
    return this.server === 'broadcast';
  }
  isBot() {
    return false;
  }
  equals(other) {
    return String(this) === String(other);
  }
}

function createWid(id) {
  if (id instanceof Wid) return id;
  const text = typeof id === 'string' ? id : (id?._serialized ?? id?.$1 ?? '');
  const at = text.indexOf('@');
  if (at < 1) throw new r(`wid error: invalid wid: ${text}`, 400);
  const server = text.slice(at + 1) === 's.whatsapp.net' ? 'c.us' : text.slice(at + 1);
  return new Wid(text.slice(0, at).replace(/:\d+$/, ''), server);
}

class MsgKey {
  constructor({ from, to, id, participant, selfDir, fromMe, remote }) {
    this.fromMe = fromMe ?? selfDir === 'out';
    this.remote = remote ?? (this.fromMe ? to : from);
    this.id = id;
    if (participant && (this.remote.isGroup() || this.remote.isStatus())) this.participant = participant;
    this[written] = [this.fromMe, this.remote, this.id, ...(this.participant ? [this.participant] : [])].join('_');
  }
  toString() {
    return this[written];
  }
  equals(other) {
    return String(this) === String(other);
  }
  clone() {
    return new MsgKey(this);
  }
  static fromString(text) {
    const [fromMe, remote, id, participant] = text.split('_');
    return new MsgKey({
      fromMe: fromMe === 'true',
      remote: createWid(remote),
      id,
      participant: participant ? createWid(participant) : undefined,
    });
  }
  static async newId() {
    return `3EB0${[...crypto.getRandomValues(new Uint8Array(9))]
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join('')
      .toUpperCase()}`;
  }
  static newId_DEPRECATED() {
    return MsgKey.newId();
  }
}

__d('WAWebMsgKey', () => Object.assign(MsgKey, { default: MsgKey }));
__d('WAWebWid', () => ({ default: Wid }));
__d('WAWebWidFactory', () => ({
  createWid,
  createWidFromWidLike: createWid,
  createUserWidOrThrow: createWid,
  asUserWidOrThrow(wid) {
    if (!wid?.isUser?.()) throw new r('wid is not a user', 400);
    return wid;
  },
  toUserWid: createWid,
}));
__d('WAWebWidToJid', () => ({
  widToUserJid: (wid) => wid.toJid(),
  widToGroupJid: (wid) => wid.toJid(),
  widToChatJid: (wid) => wid.toJid(),
}));
__d('WAWebJidToWid', () => ({ userJidToUserWid: createWid, newsletterJidToWid: createWid }));
