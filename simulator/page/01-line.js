// The line to the server: requests with answers, pushes with listeners, and reconnection.
const line = (() => {
  let socket = null;
  let counter = 0;
  const pending = new Map();
  const handlers = new Map();
  let onOpen = () => {};
  let onClose = () => {};

  function connect() {
    socket = new WebSocket('wss://web.whatsapp.com/ws/chat');
    const current = socket;
    socket.onopen = () => onOpen();
    socket.onclose = () => {
      if (socket !== current) return;
      socket = null;
      for (const { reject } of pending.values()) reject(new r('connection closed', 0));
      pending.clear();
      onClose();
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.ev) return void handlers.get(message.ev)?.(message.d);
      const waiting = pending.get(message.i);
      if (!waiting) return;
      pending.delete(message.i);
      if (message.err) waiting.reject(new r(message.err.text, message.err.status));
      else waiting.resolve(message.ok);
    };
  }

  return {
    connect,
    close: () => socket?.close(),
    on: (ev, handler) => handlers.set(ev, handler),
    hooks: (open, close) => {
      onOpen = open;
      onClose = close;
    },
    /** Without a line a request waits for the next one, as WhatsApp's own jobs do. */
    async request(op, d = {}) {
      while (!socket || socket.readyState !== WebSocket.OPEN) await new Promise((done) => setTimeout(done, 20));
      const i = ++counter;
      return new Promise((resolve, reject) => {
        pending.set(i, { resolve, reject });
        socket.send(JSON.stringify({ i, op, d }));
      });
    },
  };
})();

// Wids, keys and bytes inside a message's data cross as typed JSON.
function encode(value) {
  if (value instanceof Wid) return { $wid: value.toString() };
  if (value instanceof MsgKey) return { $key: value.toString() };
  if (value instanceof Uint8Array) return { $bytes: btoa(String.fromCharCode(...value)) };
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
