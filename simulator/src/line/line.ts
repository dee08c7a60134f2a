import type { WebSocket } from 'ws';
import { identity, tellBan, type Account, type Device, type DeviceLine } from '../accounts.js';
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

export interface LineParts {
  world: World;
  linking: Linking;
  /** The page required a module that it does not have. */
  report: (module: string) => void;
  /** The page called a function that a test has made hollow. */
  reach: (name: string) => void;
  /** An operation was executed, so the world may have changed. */
  changed: () => void;
}

/** The connection of one page. */
interface Connection extends LineParts {
  socket: WebSocket;
  line: DeviceLine;
  /** Null until the page has logged in. */
  account: Account | null;
  device: Device | null;
  /** The page while it shows codes and is not linked. */
  page: Waiting | null;
  stopShowing: () => void;
}

/**
 * Serves the connection of one page. Requests `{i, op, d}` are answered `{i, ok}` or `{i, err}`. Pushes are `{ev, d, n}`, and `{got: n}`
 * confirms them up to n. There is one table of operations; an unknown operation is refused by name, never answered as if it had worked.
 */
export function serveLine(socket: WebSocket, parts: LineParts): void {
  const connection: Connection = {
    ...parts,
    socket,
    line: {
      live: false,
      send: (push) => send(connection, push),
      replace: () => {
        detach(connection);
        send(connection, { ev: 'conflict', d: null });
        socket.close();
      },
    },
    account: null,
    device: null,
    page: null,
    stopShowing: () => undefined,
  };
  const ops = operationsOf(connection);
  socket.on('message', (raw: Buffer) => {
    const message = JSON.parse(raw.toString()) as { i: number; op: string; d: never } | { got: number };
    if ('got' in message) confirm(connection, message.got);
    else void answer(connection, ops, message);
  });
  socket.on('close', () => {
    connection.stopShowing();
    detach(connection);
  });
}

function send({ socket }: Connection, push: Push): void {
  if (socket.readyState === socket.OPEN) socket.send(JSON.stringify(push));
}

/** The page has received the pushes up to `n`. */
function confirm({ device }: Connection, n: number): void {
  device?.queue.splice(0, device.queue.findLastIndex((push) => (push.n ?? 0) <= n) + 1);
}

/** Makes this the connection of the device, in place of an earlier one. */
function attach(connection: Connection, account: Account, device: Device): void {
  device.line?.replace();
  Object.assign(connection, { account, device });
  device.line = connection.line;
}

/** Separates the connection from its device, whose pushes wait for its next one. */
function detach(connection: Connection): void {
  const { device, line } = connection;
  if (device?.line === line) device.line = null;
  if (device) connection.world.presence.end(device);
  connection.device = null;
}

function operationsOf(connection: Connection): Ops {
  const { world, linking } = connection;
  const on: OnLine = {
    world,
    me: () => connection.account ?? refuseUnlinked(),
    device: () => connection.device ?? refuseUnlinked(),
  };
  const page = (): Waiting => connection.page ?? refuseLinked();
  return {
    ...chatOps(on),
    ...groupOps(on),
    ...channelOps(on),
    ...peopleOps(on),
    missing: (d: { module: string }) => connection.report(d.module),
    hollow: (d: { name: string }) => connection.reach(d.name),
    hello: (d: { creds: Credentials | null }) => logIn(connection, d.creds),
    refresh_qr() {
      connection.stopShowing();
      if (connection.page) connection.stopShowing = linking.show(connection.page);
    },
    altlink: (d: { phone: string }) => linking.pairingCode(page(), d.phone),
    altlink_cancel: () => linking.cancelCode(page()),
    assertion: (d: { given: Assertion | null }) => linking.assertion(page(), d.given),
    /** The page has the snapshot and listens. It gets the pushes that waited, and from now on each at once. */
    live() {
      connection.line.live = true;
      for (const push of on.device().queue) send(connection, push);
    },
    logout() {
      on.me().devices.delete(on.device().id);
      detach(connection);
    },
  };
}

interface Credentials {
  device: string;
  phone: string;
  token: string;
}

/** Without credentials, and with credentials that are not valid, the page is not linked. In the first case it shows codes. */
function logIn(connection: Connection, credentials: Credentials | null): Record<string, unknown> {
  if (!credentials) {
    connection.page = waitingPage(connection);
    connection.stopShowing = connection.linking.show(connection.page);
    return { linked: false };
  }
  const account = connection.world.phones.accounts.get(credentials.phone);
  const device = account?.devices.get(credentials.device);
  if (!account || !device || device.token !== credentials.token) return { linked: false, refused: true };
  if (tellBan(account, (push) => send(connection, push))) return { linked: false };
  attach(connection, account, device);
  return { linked: true, me: identity(account) };
}

function waitingPage(connection: Connection): Waiting {
  return {
    ref: '',
    code: null,
    codePhone: null,
    passkey: null,
    push: (ev, d) => send(connection, { ev, d }),
    linked: (account, device) => {
      connection.stopShowing();
      connection.page = null;
      attach(connection, account, device);
      const creds: Credentials = { device: device.id, phone: account.phone, token: device.token };
      send(connection, { ev: 'pair_success', d: { creds, me: identity(account) } });
    },
  };
}

/** Executes one request, unless a fault was requested for it. */
async function answer(connection: Connection, ops: Ops, { i, op, d }: { i: number; op: string; d: never }): Promise<void> {
  const { socket, world } = connection;
  const fault = world.faults.next(op, connection.account?.phone ?? null);
  if (fault?.mode === 'drop') return;
  if (fault?.mode === 'delay') await new Promise((done) => setTimeout(done, fault.delayMs ?? 1000));
  try {
    if (fault?.mode === 'fail') throw new Refusal(fault.status ?? 500, 'this request was set to fail');
    const run = Object.hasOwn(ops, op) ? ops[op]! : null;
    if (!run) throw new Refusal(501, `the simulator has no operation ${op}`);
    const result = run(d) ?? null;
    const ok = fault?.mode === 'emptyReply' ? null : result;
    connection.changed();
    if (fault?.mode !== 'dropReply' && socket.readyState === socket.OPEN) socket.send(JSON.stringify({ i, ok }));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (socket.readyState === socket.OPEN) socket.send(JSON.stringify({ i, err: { status: error.status, text: error.message } }));
  }
}

const refuseUnlinked = (): never => {
  throw new Refusal(401, 'not linked');
};
const refuseLinked = (): never => {
  throw new Refusal(409, 'linked already');
};
