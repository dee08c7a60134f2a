import { createServer, connect, type AddressInfo, type Socket } from 'node:net';

/**
 * Faults of the connection between two processes.
 *
 * | fault | what is seen |
 * | --- | --- |
 * | none | everything passes |
 * | delay | every byte is late, both ways |
 * | hang | connections open, and nothing ever comes back |
 * | refuse | a connection is cut as soon as it is opened |
 * | cutRequest | cut after so many bytes of what the caller sends |
 * | dropReply | the request arrives as a whole; its reply does not, and the connection is cut |
 */
export type Fault =
  { kind: 'none' | 'hang' | 'refuse' | 'dropReply' } | { kind: 'delay'; ms: number } | { kind: 'cutRequest'; afterBytes: number };

/** A TCP proxy on loopback to one port, whose faults are changed while it runs. */
export async function openFaultProxy(targetPort: number) {
  let fault: Fault = { kind: 'none' };
  const open = new Set<Socket>();
  let isSilent = false;
  const lines = new Set<Line>();

  const server = createServer({ allowHalfOpen: false }, (caller) => {
    const own = fault;
    track(caller);
    if (own.kind === 'refuse') return void caller.resetAndDestroy();
    if (own.kind === 'hang') return void caller.resume();
    const target = connect(targetPort, '127.0.0.1');
    track(target);
    const line = createLine(isSilent, () => {
      caller.destroy();
      target.destroy();
    });
    lines.add(line);
    const cut = (): void => {
      caller.resetAndDestroy();
      target.destroy();
    };
    let asked = 0;
    caller.on('data', (chunk) => {
      asked += chunk.length;
      if (own.kind === 'cutRequest' && asked > own.afterBytes) return cut();
      late(own, () => line.pass(() => target.writable && target.write(chunk)));
    });
    target.on('data', (chunk) =>
      own.kind === 'dropReply' ? cut() : late(own, () => line.pass(() => caller.writable && caller.write(chunk))),
    );
    caller.on('close', () => late(own, () => line.pass(() => target.destroy())));
    target.on('close', () => late(own, () => line.pass(() => caller.destroy())));
  });

  function track(socket: Socket): void {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** From now on, for every connection; those that are open are cut, so that connections that clients keep open are affected too. */
    set(next: Fault): void {
      fault = next;
      for (const socket of open) socket.destroy();
    },
    /** A black hole: nothing passes and nothing is closed, on open and on new connections. Returns a function that ends it; then delayed bytes pass. */
    silence(): () => void {
      isSilent = true;
      for (const line of lines) line.hold();
      return () => {
        isSilent = false;
        for (const line of lines) line.release();
      };
    },
    /** Like a firewall that lost its table: open connections never pass anything again, not even their end; new ones work. */
    forget(): void {
      for (const line of lines) line.forget();
      lines.clear();
    },
    close: (): Promise<void> =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
export type FaultProxy = Awaited<ReturnType<typeof openFaultProxy>>;

interface Line {
  /** Runs it now, later, or never. */
  pass(work: () => unknown): void;
  hold(): void;
  release(): void;
  forget(): void;
}

function createLine(isHeld: boolean, end: () => void): Line {
  let state: 'open' | 'held' | 'forgotten' = isHeld ? 'held' : 'open';
  let held: (() => unknown)[] = [];
  return {
    pass(work) {
      if (state === 'open') work();
      else if (state === 'held') held.push(work);
    },
    hold: () => void (state = state === 'open' ? 'held' : state),
    release() {
      if (state !== 'held') return;
      state = 'open';
      for (const work of held.splice(0)) work();
    },
    forget() {
      state = 'forgotten';
      held = [];
      // Long after both ends have given up.
      setTimeout(end, 120_000).unref();
    },
  };
}

function late(fault: Fault, work: () => unknown): void {
  if (fault.kind === 'delay') setTimeout(work, fault.ms);
  else work();
}
