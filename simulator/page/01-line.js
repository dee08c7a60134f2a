// The connection to the server: requests with answers, pushes with listeners, and reconnection.
const line = (() => {
  let socket = null;
  let counter = 0;
  let wanted = [];
  let admitted = false;
  const pending = new Map();
  const handlers = new Map();
  let onOpen = () => {};
  let onClose = () => {};

  const isOpen = () => socket?.readyState === WebSocket.OPEN;

  function connect() {
    if (socket) return;
    socket = new WebSocket('wss://web.whatsapp.com/ws/chat');
    const current = socket;
    socket.onopen = () => {
      onOpen();
    };
    socket.onclose = () => {
      if (socket !== current) return;
      socket = null;
      admitted = false;
      const cut = [...pending.values()];
      pending.clear();
      for (const { reject } of cut) reject(new r('connection closed', 0));
      onClose();
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.ev) return heard(message, current);
      const waiting = pending.get(message.i);
      if (!waiting) return;
      pending.delete(message.i);
      if (message.err) waiting.reject(new r(message.err.text, message.err.status));
      else waiting.resolve(message.ok);
    };
  }

  /** Processes the push, then confirms it. A push that is not confirmed is sent again on the next connection. */
  function heard({ ev, d, n }, from) {
    try {
      handlers.get(ev)?.(d);
    } catch (error) {
      console.error(error);
    }
    if (n !== undefined && from.readyState === WebSocket.OPEN) from.send(JSON.stringify({ got: n }));
  }

  return {
    connect,
    close: () => socket?.close(),
    on: (ev, handler) => handlers.set(ev, handler),
    hooks: (open, close) => {
      onOpen = open;
      onClose = close;
    },
    /** The server knows the account of this connection: requests that waited are sent. */
    admit() {
      admitted = true;
      for (const go of wanted.splice(0)) go();
    },
    /** Without a connection, and until the page has logged in, a request waits, as WhatsApp's own jobs do. */
    async request(op, d = {}) {
      while (op !== 'hello' && !(admitted && isOpen())) await new Promise((go) => wanted.push(go));
      const i = ++counter;
      return new Promise((resolve, reject) => {
        pending.set(i, { resolve, reject });
        socket.send(JSON.stringify({ i, op, d }));
      });
    },
  };
})();

line.on('drop_listeners', () => requireModule('WAWebCollections').Msg.forget());
line.on('modules', ({ without }) => {
  withheld = new Set(without);
});
line.on('hollow', ({ functions }) => setHollow(functions));

// Wids, keys and bytes in a message's data are sent as typed JSON.
const binary = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
function encode(value) {
  if (value instanceof Wid) return { $wid: value.toString() };
  if (value instanceof MsgKey) return { $key: value.toString() };
  if (value instanceof Uint8Array) return { $bytes: btoa(binary(value)) };
  if (Array.isArray(value)) return value.map(encode);
  if (value && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, inner]) => typeof inner !== 'function' && inner !== undefined)
        .map(([key, inner]) => [key, encode(inner)]),
    );
  }
  return value;
}
function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (!value || typeof value !== 'object') return value;
  if (typeof value.$wid === 'string') return createWid(value.$wid);
  if (typeof value.$key === 'string') return MsgKey.fromString(value.$key);
  if (typeof value.$bytes === 'string') return Uint8Array.from(atob(value.$bytes), (char) => char.charCodeAt(0));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, decode(inner)]));
}
