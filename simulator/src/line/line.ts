import type { WebSocket } from 'ws';
import { identity, type Account, type Device } from '../accounts.js';
import type { Linking, Waiting } from '../linking.js';
import type { Assertion } from '../passkeys.js';
import { Refusal } from '../refusal.js';
import type { Push } from '../wire.js';
import type { World } from '../world.js';
import { channelOps } from './channels.js';
import { chatOps } from './chats.js';
import { groupOps } from './groups.js';
import type { OnLine, Ops } from './ops.js';
import { peopleOps } from './people.js';

/**
 * The line of one page. Requests `{i, op, d}` are answered `{i, ok}` or `{i, err}`; pushes are `{ev, d, n}`, and `{got: n}` says that
 * the page has them up to n. One table of operations; what is not in it is refused by name, never answered as if it had worked.
 */
export function serveLine(
  socket: WebSocket,
  { world, linking, report, changed }: { world: World; linking: Linking; report: (module: string) => void; changed: () => void },
): void {
  let account: Account | null = null;
  let device: Device | null = null;
  let page: Waiting | null = null;
  let stopShowing = (): void => undefined;

  const send = (push: Push): void => {
    if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(push));
  };
  const on: OnLine = {
    world,
    me: () => account ?? refuseUnlinked(),
    device: () => device ?? refuseUnlinked(),
  };

  function attach(toAccount: Account, toDevice: Device): void {
    toDevice.line?.replace();
    account = toAccount;
    device = toDevice;
    device.line = line;
  }

  /** Takes the line away from its device, which goes on elsewhere or later; its pushes wait. */
  function detach(): void {
    if (device?.line === line) device.line = null;
    device = null;
  }
  const line = {
    live: false,
    send,
    replace(): void {
      detach();
      send({ ev: 'conflict', d: null });
      socket.close();
    },
  };

  const ops: Ops = {
    ...chatOps(on),
    ...groupOps(on),
    ...channelOps(on),
    ...peopleOps(on),
    missing: (d: { module: string }) => report(d.module),
    hello(d: { creds: { device: string; phone: string; token: string } | null }) {
      if (!d.creds) {
        page = waitingPage();
        stopShowing = linking.show(page);
        return { linked: false };
      }
      const of = world.phones.accounts.get(d.creds.phone);
      const known = of?.devices.get(d.creds.device);
      if (!of || !known || known.token !== d.creds.token) return { linked: false, refused: true };
      attach(of, known);
      return { linked: true, me: identity(of) };
    },
    refresh_qr() {
      stopShowing();
      if (page) stopShowing = linking.show(page);
    },
    altlink: (d: { phone: string }) => linking.pairingCode(page ?? refuseLinked(), d.phone),
    altlink_cancel: () => linking.cancelCode(page ?? refuseLinked()),
    assertion: (d: { given: Assertion | null }) => linking.assertion(page ?? refuseLinked(), d.given),
    /** The page has taken the snapshot and somebody listens: what waited is handed over, and from now on pushes go out at once. */
    live() {
      line.live = true;
      for (const push of on.device().queue) send(push);
    },
    logout() {
      on.me().devices.delete(on.device().id);
      detach();
    },
  };

  function waitingPage(): Waiting {
    return {
      ref: '',
      code: null,
      codePhone: null,
      passkey: null,
      push: (ev, d) => send({ ev, d }),
      linked: (to, toDevice) => {
        stopShowing();
        page = null;
        attach(to, toDevice);
        const creds = { device: toDevice.id, phone: to.phone, token: toDevice.token };
        send({ ev: 'pair_success', d: { creds, me: identity(to) } });
      },
    };
  }

  socket.on('message', (raw: Buffer) => {
    const message = JSON.parse(raw.toString()) as { i: number; op: string; d: never } | { got: number };
    if ('got' in message) device?.queue.splice(0, device.queue.findLastIndex((push) => (push.n ?? 0) <= message.got) + 1);
    else void answer(message.i, message.op, message.d);
  });
  socket.on('close', () => {
    stopShowing();
    detach();
  });

  async function answer(i: number, op: string, d: never): Promise<void> {
    const fault = world.faults.next(op, account?.phone ?? null);
    if (fault?.mode === 'drop') return;
    if (fault?.mode === 'delay') await new Promise((done) => setTimeout(done, fault.delayMs ?? 1000));
    try {
      if (fault?.mode === 'fail') throw new Refusal(fault.status ?? 500, 'ordered to fail');
      const run = Object.hasOwn(ops, op) ? ops[op]! : null;
      if (!run) throw new Refusal(501, `the simulator has no operation ${op}`);
      const ok = run(d) ?? null;
      changed();
      if (fault?.mode !== 'dropReply' && socket.readyState === socket.OPEN) socket.send(JSON.stringify({ i, ok }));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (socket.readyState === socket.OPEN)
        socket.send(JSON.stringify({ i, err: { status: error.status, text: error.message } }));
    }
  }
}

const refuseUnlinked = (): never => {
  throw new Refusal(401, 'not linked');
};
const refuseLinked = (): never => {
  throw new Refusal(409, 'linked already');
};
