import type { ServerResponse } from 'node:http';
import { createServer as createHttpServer, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { Socket, type AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { makeCertificate } from './certificate.js';
import { simulatorClient } from './client.js';
import { createClock } from './clock.js';
import { createControl } from './control/http.js';
import { controlOperations } from './control/index.js';
import { keepInFile } from './data-file.js';
import { createFaults } from './faults.js';
import { createJournal } from './journal.js';
import { serveLine } from './line/line.js';
import { createLinking } from './linking.js';
import { createWeb } from './web.js';
import type { ProxyOptions } from './proxy-options.js';
import { openProxy } from './proxy.js';
import { builds, type BuildName, type PageOptions, type Push } from './wire.js';
import { createWorld } from './world.js';

export interface SimulatorOptions {
  /** 0: a free port. */
  port?: number;
  controlPort?: number;
  /** By default the newest. */
  build?: BuildName;
  /** A file to which the journal is also appended, line by line. */
  journalFile?: string;
  /** The file that keeps phones, chats and logins over a restart. Without it they exist only in memory. */
  dataFile?: string;
  /** How long each code is shown (20 s), and how many codes are shown (6). */
  refLifeMs?: number;
  refCount?: number;
}

export type Simulator = Awaited<ReturnType<typeof startSimulator>>;

/** Starts the simulator on loopback. With `browserArgs` a browser uses it as WhatsApp Web. */
export async function startSimulator(options: SimulatorOptions = {}) {
  const { key, cert, spki } = await makeCertificate();
  const clock = createClock();
  const journal = createJournal(clock.now, options.journalFile);
  const faults = createFaults();
  const world = createWorld({ journal, faults, clock });
  const kept = options.dataFile ? keepInFile(world, options.dataFile) : null;
  const linking = createLinking(world.phones, { refLifeMs: options.refLifeMs ?? 20_000, refCount: options.refCount ?? 6 });
  const build = options.build ?? '2026-09';
  const page: PageOptions = {
    build,
    version: builds[build],
    ballastMb: 0,
    syncRace: false,
    offlineRace: false,
    groupsWork: false,
    newsMs: 0,
    without: [],
    hollow: {},
  };
  const missing = new Set<string>();
  const reached = new Set<string>();
  const listeners = new Set<ServerResponse>();
  const tell = tellSoon(listeners);
  const changed = (): void => {
    kept?.changed();
    tell();
  };

  const web = createHttpsServer({ key, cert }, createWeb({ page, media: world.media, faults }));
  /** The ports from which browsers and proxies connected. */
  const connections: number[] = [];
  web.on('connection', (socket) => {
    if (socket instanceof Socket) connections.push(socket.remotePort!);
  });
  const lines = new WebSocketServer({ server: web, path: '/ws/chat', maxPayload: 64 * 1024 * 1024 });
  lines.on('connection', (socket) => {
    serveLine(socket, { world, linking, report: (module) => missing.add(module), reach: (name) => reached.add(name), changed });
    socket.on('close', tell);
  });
  const tellPages = async (push: Push): Promise<void> => {
    const open = [...lines.clients].filter((socket) => socket.readyState === socket.OPEN);
    const received = open.map(
      (socket) =>
        new Promise<void>((resolve) => {
          // The page confirms number 0, which no other push has. A frozen page does not.
          const confirmed = (raw: Buffer): void => void (raw.toString() === '{"got":0}' && end());
          const end = (): void => {
            socket.off('message', confirmed);
            clearTimeout(timer);
            resolve();
          };
          const timer = setTimeout(end, 2_000);
          socket.on('message', confirmed);
          socket.once('close', end);
          socket.send(JSON.stringify({ ...push, n: 0 }));
        }),
    );
    await Promise.all(received);
  };
  const operations = controlOperations({ world, linking, page, missing, reached, tellPages });
  const control = createControl({ operations, media: world.media, changed, listeners });
  const api = createHttpServer((req, res) => void control(req, res));
  await Promise.all([listen(web, options.port ?? 0), listen(api, options.controlPort ?? 0)]);

  const httpsPort = (web.address() as AddressInfo).port;
  const controlUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  return {
    httpsPort,
    controlUrl,
    phoneUrl: `${controlUrl}/phone`,
    browserArgs: browserArgs(httpsPort, spki),
    client: simulatorClient(controlUrl),
    /** The ports from which the page's connections came, in order. Those through a proxy are in its `outgoing`. */
    connections: (): number[] => [...connections],
    /** Opens a proxy that connects only to this simulator. The caller closes it. */
    openProxy: (given?: ProxyOptions) => openProxy(httpsPort, given),
    async close(): Promise<void> {
      for (const socket of lines.clients) socket.terminate();
      for (const listener of listeners) listener.end();
      await Promise.all([shut(web), shut(api)]);
      kept?.save();
    },
  };
}

/** Redirects a browser's requests to WhatsApp to this port and makes it trust this key. */
const browserArgs = (httpsPort: number, spki: string): string[] => [
  `--host-resolver-rules=MAP *.whatsapp.com:443 127.0.0.1:${httpsPort},MAP *.whatsapp.net:443 127.0.0.1:${httpsPort},EXCLUDE localhost`,
  `--ignore-certificate-errors-spki-list=${spki}`,
];

/** Informs phone pages of changes, at most every 100 ms. */
function tellSoon(listeners: Set<ServerResponse>): () => void {
  let timer: NodeJS.Timeout | null = null;
  return () => {
    if (listeners.size === 0) return;
    timer ??= setTimeout(() => {
      timer = null;
      for (const listener of listeners) listener.write('data: changed\n\n');
    }, 100).unref();
  };
}

const listen = (server: Server, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });

const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
