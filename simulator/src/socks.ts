import type { Socket } from 'node:net';
import type { ProxyContext } from './proxy-options.js';

/** The server's half of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929): the command CONNECT, with a name and a password. */
export async function acceptSocks(context: ProxyContext, socket: Socket): Promise<void> {
  const reader = readerOf(socket);
  const [version] = await reader.take(1);
  if (version === 4 && context.options.protocol === 'socks4') return acceptSocks4(context, socket, reader);
  if (version === 5 && context.options.protocol === 'socks5') return acceptSocks5(context, socket, reader);
  socket.destroy();
}

async function acceptSocks4(context: ProxyContext, socket: Socket, reader: Reader): Promise<void> {
  const head = await reader.take(7);
  const user = await reader.text();
  const address = head.subarray(3);
  // 0.0.0.x: the name follows (SOCKS 4a).
  const isName = address.readUInt32BE() < 256;
  const host = isName ? await reader.text() : address.join('.');
  const answer = (code: number): Buffer => Buffer.from([0, code, 0, 0, 0, 0, 0, 0]);
  if (context.options.username !== undefined && user !== context.options.username) {
    context.refused += 1;
    return void socket.end(answer(0x5d));
  }
  reader.end();
  context.connect(`${host}:${head.readUInt16BE(1)}`, socket, (far) => {
    if (far) socket.write(answer(0x5a));
    else socket.end(answer(0x5b));
  });
}

async function acceptSocks5(context: ProxyContext, socket: Socket, reader: Reader): Promise<void> {
  const { username, password } = context.options;
  const methods = await reader.take((await reader.take(1))[0]!);
  const method = username === undefined ? 0 : 2;
  if (!methods.includes(method)) {
    context.refused += 1;
    return void socket.end(Buffer.from([5, 0xff]));
  }
  socket.write(Buffer.from([5, method]));
  if (method === 2) {
    await reader.take(1);
    const name = await reader.short();
    const secret = await reader.short();
    const isRight = name === username && secret === (password ?? '');
    socket.write(Buffer.from([1, isRight ? 0 : 1]));
    if (!isRight) {
      context.refused += 1;
      return void socket.end();
    }
  }
  const kind = (await reader.take(4))[3];
  const host = kind === 3 ? await reader.short() : (await reader.take(kind === 4 ? 16 : 4)).join('.');
  const port = (await reader.take(2)).readUInt16BE();
  reader.end();
  const answer = (code: number): Buffer => Buffer.from([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
  context.connect(`${host}:${port}`, socket, (far) => {
    if (far) socket.write(answer(0));
    else socket.end(answer(2));
  });
}

interface Reader {
  /** The next bytes. */
  take(length: number): Promise<Buffer>;
  /** A text that ends with a zero byte. */
  text(): Promise<string>;
  /** A text behind its length in one byte. */
  short(): Promise<string>;
  /** From now on the socket's data goes elsewhere. */
  end(): void;
}

function readerOf(socket: Socket): Reader {
  let held = Buffer.alloc(0);
  let wake = (): void => undefined;
  const onData = (chunk: Buffer): void => {
    held = Buffer.concat([held, chunk]);
    wake();
  };
  socket.on('data', onData);
  const take = async (length: number): Promise<Buffer> => {
    while (held.length < length) await new Promise<void>((resolve) => (wake = resolve));
    const taken = held.subarray(0, length);
    held = held.subarray(length);
    return taken;
  };
  return {
    take,
    async text() {
      const bytes: number[] = [];
      for (let next = (await take(1))[0]!; next !== 0; next = (await take(1))[0]!) bytes.push(next);
      return Buffer.from(bytes).toString();
    },
    short: async () => (await take((await take(1))[0]!)).toString(),
    end() {
      socket.off('data', onData);
      socket.pause();
      if (held.length > 0) socket.unshift(held);
    },
  };
}
