import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/**
 * A TCP proxy before PostgreSQL that loses the answers to COMMIT: the statement reaches the server, which commits, and the line is cut as soon as the
 * server answers. `share` is the part of the commits that this happens to.
 */
export async function openCommitProxy(targetPort: number) {
  const open = new Set<Socket>();
  const state = { share: 0, lost: 0 };
  const track = (socket: Socket): void => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
  };
  const server = createServer((caller) => {
    const target = connect(targetPort, '127.0.0.1');
    track(caller);
    track(target);
    let isLost = false;
    caller.on('data', (chunk) => {
      if (state.share > 0 && chunk.includes('COMMIT\0') && Math.random() < state.share) isLost = true;
      target.write(chunk);
    });
    target.on('data', (chunk) => {
      if (!isLost) return void caller.write(chunk);
      state.lost += 1;
      caller.resetAndDestroy();
      target.destroy();
    });
    caller.on('close', () => target.destroy());
    target.on('close', () => caller.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    state,
    close: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
