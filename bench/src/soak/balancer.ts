import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface Balancer {
  url: string;
  close: () => void;
}

/** Opens a TCP balancer: each connection goes to the next port, or to another one if nothing listens there. */
export async function openBalancer(ports: readonly number[]): Promise<Balancer> {
  const open = new Set<Socket>();
  let next = 0;
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
  };
  const server = createServer((caller) => {
    track(caller);
    caller.pause();
    next += 1;
    const attempt = (tried: number): void => {
      if (tried === ports.length || caller.destroyed) return void caller.destroy();
      const target = connect(ports[(next + tried) % ports.length]!, '127.0.0.1');
      const refused = (): void => attempt(tried + 1);
      target.once('error', refused);
      target.once('connect', () => {
        target.off('error', refused);
        track(target);
        caller.pipe(target);
        target.pipe(caller);
        caller.on('close', () => target.destroy());
        target.on('close', () => caller.destroy());
      });
    };
    attempt(0);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
