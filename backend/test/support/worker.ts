/* eslint-disable max-lines -- one stand-in worker, whose routes share its state */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  AppError,
  internalOperations,
  isSameAccount,
  newId,
  operations,
  workerRoutes,
  type HeartbeatReply,
  type ObservedSession,
  type OutletEvent,
  type LoginCopy,
  type SelfCheck,
  type SendCommand,
  type SendOutcome,
  type WhatsappAccount,
  type WorkerEventPayload,
  type WorkerEventType,
  type WorkerSettings,
} from '@chasqui/shared';
import { createMount, handled, Reply } from '@chasqui/shared/express';
import busboy from 'busboy';
import express, { type ErrorRequestHandler, type Request, type Response, type Router } from 'express';
import { eventually } from './eventually.js';

/**
 * Stands in for a worker's HTTP contract: same routes, same schemas, same rules of its send record, no browser. What really left is
 * in `left`; that list, not any reply, says whether a message was lost or doubled.
 */

/** The outcome of the next send. `lose…` close the connection instead of replying: before or after the message was sent. */
export type Script =
  | { do: 'send'; afterMs?: number }
  | { do: 'fail'; reason: string; retryable: boolean }
  /** The outcome is uncertain; `ack`: the page has the message with this ack, so that lookups find it. */
  | { do: 'uncertain'; ack?: number }
  | { do: 'refuse'; code: 'SESSION_NOT_CONNECTED' | 'STALE_EPOCH' | 'SHUTTING_DOWN' }
  | { do: 'loseBefore' }
  | { do: 'loseAfter' };

export interface Left {
  sessionId: string;
  messageId: string;
  command: SendCommand;
  file: { bytes: Buffer; mimetype: string; filename: string } | null;
}

interface Running {
  epoch: number;
  status: ObservedSession['status'];
  reason: ObservedSession['reason'];
  phoneNumber: string | null;
  qrText: string | null;
}

export type StandIn = Awaited<ReturnType<typeof startStandIn>>;

export async function startStandIn(options: { serviceKey: string; workerId?: string }) {
  const workerId = options.workerId ?? 'worker-a';
  const state = {
    sessions: new Map<string, Running>(),
    /** Run during a command, before it is answered. */
    hooks: { disconnect: async (): Promise<void> => undefined },
    record: new Map<string, SendOutcome & { attempt?: number }>(),
    /** Whose page runs a session, where it is not the number that its row has: the worker learned of another account first. */
    pageOf: new Map<string, string>(),
    /** What a lookup says of a message that is not in `left`. */
    found: new Map<string, { whatsappId: string; ack: number }>(),
    scripts: [] as Script[],
    left: [] as Left[],
    puts: [] as string[],
    starts: [] as string[],
    /** How far the backend says that a session's messages are recorded, with its last start. */
    caughtUp: new Map<string, unknown>(),
    /** What each session's last order to start said of its settings. */
    settings: new Map<string, WorkerSettings | undefined>(),
    /** Sends that ran at once, and the most there ever were. */
    atOnce: { now: 0, most: 0 },
    /** The copy of each session's login; absent from older workers. */
    loginCopies: new Map<string, LoginCopy | null>(),
    /** What the check of a session's page found. */
    selfChecks: new Map<string, SelfCheck>(),
    files: new Map<string, { bytes: Buffer; mimetype: string } | 'gone' | 'fails'>(),
    operations: [] as { operation: string; input: Record<string, unknown>; file?: NonNullable<Left['file']> }[],
    answer: new Map<string, unknown>(),
    /** The calls of the backend, with the trace to which each belongs. */
    calls: [] as { path: string; traceparent: string | undefined }[],
    /** Sent with each batch of events. */
    eventHeaders: {} as Record<string, string>,
    /** Whether a lookup that finds nothing proves it. */
    proves: true,
    /** Whether this worker is of a version that does not know proxies. */
    isOld: false,
    /** Whether `init` shows a QR by itself. */
    showsQr: true,
  };
  let backendUrl = '';
  let cursor = 0;
  const sequences = new Map<string, number>();
  const outlet: OutletEvent[] = [];

  const app = express();
  const router: Router = express.Router();
  const { mount } = createMount<null>({
    router,
    jsonLimit: 20_000_000,
    authenticate: async (route, req) => {
      if (route.auth === 'svc' && req.get('x-api-key') !== options.serviceKey) throw new AppError('UNAUTHENTICATED');
      return null;
    },
    readUpload: (_route, req, res) => readMultipart(req, res),
  });

  const observe = (sessionId: string): ObservedSession => {
    const running = state.sessions.get(sessionId);
    if (!running) throw new AppError('SESSION_NOT_FOUND');
    return {
      sessionId,
      epoch: running.epoch,
      status: running.status,
      reason: running.reason,
      phoneNumber: running.phoneNumber,
      lid: null,
      pushName: running.phoneNumber ? 'Shop' : null,
      platform: running.phoneNumber ? 'android' : null,
      whatsappWebVersion: '2.3000',
      qrText: running.qrText,
      qrExpiresAt: null,
      lastRoundTripAt: null,
      compat: [{ defect: 'stand-in', state: 'not_needed', detail: null }],
      selfCheck: state.selfChecks.get(sessionId) ?? null,
      ...(state.loginCopies.has(sessionId) ? { loginCopy: state.loginCopies.get(sessionId) } : {}),
      metrics: { memoryMb: 90, cpuPercent: 1, processes: 4, browserUptimeSeconds: 5, queueDepth: 0, roundTripMs: 3 },
    };
  };
  const under = (sessionId: string, epoch: number | undefined): Running => {
    const running = state.sessions.get(sessionId);
    if (!running) throw new AppError('SESSION_NOT_FOUND');
    if (epoch !== undefined && epoch < running.epoch) throw new AppError('STALE_EPOCH', { epoch, current: running.epoch });
    if (epoch !== undefined) running.epoch = epoch;
    return running;
  };

  function move(sessionId: string, to: ObservedSession['status'], reason: string | null): Promise<void> {
    const running = state.sessions.get(sessionId)!;
    running.status = to;
    running.reason = reason ? { code: reason, message: `Because of ${reason}.` } : null;
    const { status, phoneNumber, lid, pushName, platform, whatsappWebVersion, compat, reason: why } = observe(sessionId);
    return emit(sessionId, 'session.observed', {
      status,
      reason: why,
      phoneNumber,
      lid,
      pushName,
      platform,
      attempt: 0,
      whatsappWebVersion,
      compat,
    });
  }

  async function start(sessionId: string, epoch: number): Promise<void> {
    const known = state.sessions.get(sessionId);
    if (known && known.status !== 'disconnected' && known.status !== 'error') return void (known.epoch = epoch);
    state.starts.push(sessionId);
    const phoneNumber = known?.phoneNumber ?? null;
    state.sessions.set(sessionId, { epoch, status: 'initializing', reason: null, phoneNumber, qrText: null });
    await move(sessionId, 'initializing', 'STARTING');
    if (phoneNumber) {
      await move(sessionId, 'connecting', 'SYNCING');
      await move(sessionId, 'connected', null);
    } else if (state.showsQr) await showQr(sessionId);
  }

  async function showQr(sessionId: string, qrText = `2@${newId()}`): Promise<void> {
    state.sessions.get(sessionId)!.qrText = qrText;
    if (state.sessions.get(sessionId)!.status !== 'qr_pending') await move(sessionId, 'qr_pending', 'WAITING_FOR_SCAN');
    await emit(sessionId, 'session.qr', { qrText, expiresAt: new Date(Date.now() + 20_000).toISOString() });
  }

  /** As the outlet does it: an event has its place at once, and is delivered until it is acknowledged. */
  function queue<T extends WorkerEventType>(sessionId: string, event: T, payload: WorkerEventPayload<T>): OutletEvent {
    const { epoch } = state.sessions.get(sessionId) ?? { epoch: 1 };
    const sequence = (sequences.get(`${sessionId} ${epoch}`) ?? 0) + 1;
    sequences.set(`${sessionId} ${epoch}`, sequence);
    const occurredAt = new Date().toISOString();
    const entry = { cursor: (cursor += 1), id: newId(), sessionId, epoch, sequence, type: event, occurredAt, payload };
    outlet.push(entry);
    return entry;
  }
  async function emit<T extends WorkerEventType>(sessionId: string, event: T, payload: WorkerEventPayload<T>): Promise<void> {
    queue(sessionId, event, payload);
    await flush();
  }
  let flushing: Promise<void> = Promise.resolve();
  function flush(): Promise<void> {
    const flushed = flushing.then(async () => {
      if (outlet.length === 0 || !backendUrl) return;
      const { ackCursor } = await post(outlet.slice(0, 500));
      while (outlet.length > 0 && outlet[0]!.cursor <= ackCursor) outlet.shift();
    });
    // One that failed is told to its caller alone: what it did not deliver goes with the next one.
    flushing = flushed.catch(() => undefined);
    return flushed;
  }
  const internal = async (path: string, body: unknown): Promise<Record<string, unknown>> => {
    const answer = await fetch(`${backendUrl}/internal/${path}`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-api-key': options.serviceKey,
        ...(path === 'events' ? state.eventHeaders : {}),
      },
      body: JSON.stringify(body),
    });
    const reply = (await answer.json()) as { data?: Record<string, unknown> };
    if (!reply.data) throw new Error(`The backend answered ${answer.status}: ${JSON.stringify(reply)}`);
    return reply.data;
  };
  /** The raw call, for tests of repeats, gaps and stale epochs. */
  const post = async (events: OutletEvent[]) =>
    (await internal('events', { workerId, bootId: 'boot-1', events })) as unknown as {
      ackCursor: number;
      refused: { id: string; code: string }[];
      resend: { sessionId: string; fromSequence: number }[];
    };

  /** Tells what runs here and does what the answer wants. */
  async function beat(
    more: { obey?: boolean; capacity?: number; draining?: boolean; status?: 'ok' | 'degraded'; bootId?: string } = {},
  ): Promise<HeartbeatReply> {
    const sessions = [...state.sessions.keys()].map(observe);
    const reply = (await internal('workers/heartbeat', {
      workerId,
      bootId: more.bootId ?? 'boot-1',
      url: standIn.url,
      version: '0.0.0',
      capacity: more.capacity ?? 50,
      draining: more.draining ?? false,
      memoryMb: 200,
      memoryLimitMb: null,
      cpuPercent: 7,
      ...(state.isOld ? {} : { proxies: true }),
      ...(more.status ? { status: more.status } : {}),
      sessions,
    })) as unknown as HeartbeatReply;
    if (more.obey === false) return reply;
    for (const { sessionId } of reply.revoke) state.sessions.delete(sessionId);
    for (const { sessionId, state: input, epoch } of reply.desired) {
      if (input === 'running') await start(sessionId, epoch);
      else await stop(sessionId, 'USER_STOPPED');
    }
    return reply;
  }
  async function stop(sessionId: string, reason: string): Promise<void> {
    if (!state.sessions.has(sessionId)) state.sessions.set(sessionId, none(1));
    if (reason === 'USER_LOGGED_OUT') state.sessions.get(sessionId)!.phoneNumber = null;
    state.sessions.get(sessionId)!.qrText = null;
    await move(sessionId, 'disconnected', reason);
  }

  mount(workerRoutes.health, async () => ({
    status: 'ok' as const,
    version: '0.0.0',
    workerId,
    bootId: 'boot-1',
    sessions: state.sessions.size,
    capacity: 50,
    draining: false,
    ...(state.isOld ? {} : { proxies: true }),
    memoryMb: 1,
    browser: { path: null, profile: 'lean' },
    outlet: { pending: outlet.length },
    disk: { freeMb: null },
    compat: {},
  }));
  mount(workerRoutes.init, async ({ body }) => {
    state.caughtUp.set(body.sessionId, body.caughtUp ?? null);
    state.settings.set(body.sessionId, body.settings);
    if (state.sessions.has(body.sessionId)) under(body.sessionId, body.epoch);
    // Its backend may be closed during it.
    start(body.sessionId, body.epoch ?? 1).catch(() => undefined);
    return observe(body.sessionId);
  });
  mount(workerRoutes.status, async ({ params }) => observe(params.id));
  mount(workerRoutes.list, async () => [...state.sessions.keys()].map(observe));
  mount(workerRoutes.disconnect, async ({ body }) => {
    // A session that it does not run it knows all the same: there may be a login to delete.
    if (!state.sessions.has(body.sessionId))
      state.sessions.set(body.sessionId, {
        epoch: body.epoch ?? 1,
        status: 'disconnected',
        reason: null,
        phoneNumber: null,
        qrText: null,
      });
    stop(body.sessionId, body.logout ? 'USER_LOGGED_OUT' : 'USER_STOPPED').catch(() => undefined);
    await state.hooks.disconnect();
    return observe(body.sessionId);
  });
  mount(workerRoutes.send, async ({ params, body }, _, { res }) => {
    state.atOnce.most = Math.max(state.atOnce.most, (state.atOnce.now += 1));
    const outcome = await put(params.id, params.messageId, body, res).finally(() => (state.atOnce.now -= 1));
    if (outcome === 'cut') return (res.destroy(), handled);
    return new Reply(outcome, { status: outcome.outcome === 'sending' ? 202 : 200 });
  });

  const outcomeOf = ({ attempt: _, ...outcome }: SendOutcome & { attempt?: number }): SendOutcome => outcome;

  function requireAccount(sessionId: string, account: WhatsappAccount | null | undefined): void {
    const phoneNumber = state.pageOf.get(sessionId) ?? state.sessions.get(sessionId)?.phoneNumber ?? null;
    if (account && isSameAccount(account, { phoneNumber, lid: null }) === false) throw new AppError('SESSION_IDENTITY_CHANGED');
  }

  async function put(sessionId: string, messageId: string, command: SendCommand, res: Response): Promise<SendOutcome | 'cut'> {
    state.puts.push(messageId);
    const running = under(sessionId, command.epoch);
    const known = state.record.get(messageId);
    const isNew = known !== undefined && command.attempt > (known.attempt ?? 1) && known.outcome !== 'sending';
    if (known && known.outcome !== 'sent' && isNew) state.record.delete(messageId);
    else if (known && !(known.outcome === 'failed' && known.retryable)) return outcomeOf(known);
    requireAccount(sessionId, command.account);
    const script = state.scripts.shift() ?? { do: 'send' };
    if (running.status !== 'connected') throw new AppError('SESSION_NOT_CONNECTED');
    if (script.do === 'refuse') throw new AppError(script.code);
    if (script.do === 'loseBefore') return 'cut';
    if (script.do === 'send' && script.afterMs) {
      state.record.set(messageId, { outcome: 'sending' });
      await new Promise((resolve) => setTimeout(resolve, script.afterMs));
    }
    return hand(sessionId, messageId, command, script, res);
  }
  function hand(sessionId: string, messageId: string, command: SendCommand, script: Script, res: Response): SendOutcome | 'cut' {
    const settle = (outcome: SendOutcome): SendOutcome => (
      state.record.set(messageId, { ...outcome, attempt: command.attempt }),
      outcome
    );
    if (script.do === 'fail')
      return settle({
        outcome: 'failed',
        reason: script.reason as never,
        message: 'It was refused.',
        retryable: script.retryable,
      });
    if (script.do === 'uncertain' && script.ack !== undefined)
      state.found.set(command.reservedId, { whatsappId: `true_${command.recipient}_${command.reservedId}`, ack: script.ack });
    if (script.do === 'uncertain')
      return settle({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: 'Not confirmed.' });
    state.left.push({ sessionId, messageId, command, file: (res.locals['file'] as Left['file'] | undefined) ?? null });
    const whatsappId = `true_${command.recipient}_${command.reservedId}`;
    const sent = settle({ outcome: 'sent', whatsappId, ack: 1, at: new Date().toISOString() });
    return script.do === 'loseAfter' ? 'cut' : sent;
  }

  mount(workerRoutes.operation, async ({ params, body }, _, { res }) => {
    under(params.id, body.epoch);
    const file = (res.locals['file'] as Left['file'] | undefined) ?? null;
    state.operations.push({ operation: params.operation, input: body.input, ...(file ? { file } : {}) });
    if (params.operation === 'messages.downloadMedia') return download(String(body.input['whatsappId']), res);
    return { output: operate(params.id, params.operation, body.input) };
  });
  function operate(sessionId: string, operation: string, input: Record<string, unknown>): unknown {
    if (operation === 'session.lookup') {
      const { account, reservedId } = internalOperations['session.lookup'].input.parse(input);
      requireAccount(sessionId, account);
      const other = state.found.get(reservedId);
      if (other) return { found: true, ...other };
      const found = state.left.find(({ command }) => command.reservedId === reservedId);
      if (!found) return { found: false, proven: state.proves };
      return { found: true, whatsappId: `true_${found.command.recipient}_${found.command.reservedId}`, ack: 1 };
    }
    if (operation === 'session.backfill') return { started: true };
    if (operation === 'session.restart') return observe(sessionId);
    if (operation === 'session.pairingCode')
      return internalOperations['session.pairingCode'].output.parse({ code: 'ABCD1234', expiresAt: new Date().toISOString() });
    if (!Object.hasOwn(operations, operation) && !state.answer.has(operation)) throw new AppError('OPERATION_NOT_FOUND');
    const answer = state.answer.get(operation);
    if (answer instanceof AppError) throw answer;
    return answer;
  }
  function download(whatsappId: string, res: Response): typeof handled {
    const file = state.files.get(whatsappId);
    if (!file || file === 'gone') throw new AppError('MEDIA_EXPIRED');
    if (file === 'fails') throw new AppError('WHATSAPP_ERROR');
    res.status(200).set({ 'Content-Type': 'application/octet-stream', 'X-Media-Type': encodeURIComponent(file.mimetype) });
    return (void res.end(file.bytes), handled);
  }

  app.use((req, _res, next) => {
    state.calls.push({ path: req.path, traceparent: req.get('traceparent') });
    next();
  });
  app.use(router);
  app.use(((error: unknown, _req, res, _next) => {
    const known = error instanceof AppError ? error : new AppError('INTERNAL_ERROR', {}, String(error));
    res
      .status(known.status)
      .json({ success: false, error: { code: known.code, message: known.message, details: known.details } });
  }) satisfies ErrorRequestHandler);
  let server: Server = createServer(app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const standIn = {
    ...state,
    workerId,
    url: `http://127.0.0.1:${port}`,
    report: (url: string): void => void (backendUrl = url),
    beat,
    emit,
    queue,
    flush,
    post,
    move,
    start,
    showQr,
    observe,
    /** The last call of this operation. The backend also calls some by itself, so the last call of all may be another one. */
    lastOf(operation: string): (typeof state.operations)[number] | undefined {
      return state.operations.filter((one) => one.operation === operation).at(-1);
    },
    script: (...scripts: Script[]): void => void state.scripts.push(...scripts),
    get proves(): boolean {
      return state.proves;
    },
    set proves(value: boolean) {
      state.proves = value;
    },
    get isOld(): boolean {
      return state.isOld;
    },
    set isOld(value: boolean) {
      state.isOld = value;
    },
    get showsQr(): boolean {
      return state.showsQr;
    },
    set showsQr(value: boolean) {
      state.showsQr = value;
    },
    /** Somebody scans the QR: linked, synced, connected. */
    async link(sessionId: string, phoneNumber = '+5511988887777'): Promise<void> {
      Object.assign(state.sessions.get(sessionId)!, { phoneNumber, qrText: null });
      await move(sessionId, 'connecting', 'SYNCING');
      await move(sessionId, 'connected', null);
    },
    /** The process is gone: it sends no replies and no events. Its record and outlet are on disk. */
    async die(): Promise<void> {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
    async rise(): Promise<void> {
      server = createServer(app);
      await eventually('the port to be free', async () => {
        server.listen(port, '127.0.0.1');
        return Promise.race([once(server, 'listening').then(() => true), once(server, 'error').then(() => false)]);
      });
    },
    async close(): Promise<void> {
      if (server.listening) await this.die();
    },
  };
  return standIn;
}

const none = (epoch: number): Running => ({ epoch, status: 'disconnected', reason: null, phoneNumber: null, qrText: null });

function readMultipart(req: Request, res: Response): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let command: unknown = null;
    const parser = busboy({ headers: req.headers, defParamCharset: 'utf8', limits: { fieldSize: 1_000_000 } });
    parser.on('field', (name, value) => {
      if (name === 'command') command = JSON.parse(value) as unknown;
    });
    parser.on('file', (_name, stream, { mimeType, filename }) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => (res.locals['file'] = { bytes: Buffer.concat(chunks), mimetype: mimeType, filename }));
    });
    parser.on('error', reject);
    parser.on('close', () => resolve(command));
    req.pipe(parser);
  });
}
