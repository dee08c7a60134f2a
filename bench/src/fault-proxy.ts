import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/**
 * What the line between two processes does.
 *
 * | fault | what is seen |
 * | --- | --- |
 * | none | everything passes |
 * | delay | every byte is late, both ways |
 * | hang | connections open, and nothing ever comes back |
 * | refuse | a connection is cut as soon as it is made |
 * | cutRequest | cut after so many bytes of what the caller sends |
 * | dropReply | the request arrives as a whole; its reply never does, and the line is cut |
 */
export type Fault =
  { kind: 'none' | 'hang' | 'refuse' | 'dropReply' } | { kind: 'delay'; ms: number } | { kind: 'cutRequest'; afterBytes: number };

/** A TCP proxy on loopback to one port, whose faults are changed while it runs. */
export async function openFaultProxy(targetPort: number) {
  let fault: Fault = { kind: 'none' };
  const open = new Set<Socket>();

  const server = createServer({ allowHalfOpen: false }, (caller) => {
    const own = fault;
    track(caller);
    if (own.kind === 'refuse') return void caller.resetAndDestroy();
    if (own.kind === 'hang') return void caller.resume();
    const target = connect(targetPort, '127.0.0.1');
    track(target);
    const cut = (): void => {
      caller.resetAndDestroy();
      target.destroy();
    };
    let asked = 0;
    caller.on('data', (chunk) => {
      asked += chunk.length;
      if (own.kind === 'cutRequest' && asked > own.afterBytes) return cut();
      late(own, () => target.writable && target.write(chunk));
    });
    target.on('data', (chunk) => (own.kind === 'dropReply' ? cut() : late(own, () => caller.writable && caller.write(chunk))));
    caller.on('close', () => late(own, () => target.destroy()));
    target.on('close', () => late(own, () => caller.destroy()));
  });

  function track(socket: Socket): void {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** From now on, for every connection; those that are open are cut, so that kept ones do not go on as before. */
    set(next: Fault): void {
      fault = next;
      for (const socket of open) socket.destroy();
    },
    close: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
export type FaultProxy = Awaited<ReturnType<typeof openFaultProxy>>;

function late(fault: Fault, work: () => unknown): void {
  if (fault.kind === 'delay') setTimeout(work, fault.ms);
  else work();
}
