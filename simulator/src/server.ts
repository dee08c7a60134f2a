import { readdirSync, readFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { WebSocketServer } from 'ws';
import { makeCertificate } from './certificate.js';
import { createControl } from './control.js';
import { simulatorClient } from './client.js';
import { createFaults } from './faults.js';
import { createJournal } from './journal.js';
import { serveLine } from './line.js';
import { storeMedia } from './files.js';
import { createLinking } from './linking.js';
import { builds, type BuildName, type PageOptions } from './wire.js';
import { createWorld } from './world.js';

export interface SimulatorOptions {
  /** 0 takes free ports. */
  port?: number;
  controlPort?: number;
  build?: BuildName;
  journalFile?: string;
  refLifeMs?: number;
  refCount?: number;
}

export type Simulator = Awaited<ReturnType<typeof startSimulator>>;

const pageFolder = join(import.meta.dirname, '../page');

/** Starts the stand-in on loopback. `browserArgs` are all that a browser needs to take it for WhatsApp Web. */
export async function startSimulator(options: SimulatorOptions = {}) {
  const { key, cert, spki } = await makeCertificate();
  const faults = createFaults();
  const journal = createJournal(() => new Date(), options.journalFile);
  const world = createWorld({ journal, faults, now: () => new Date() });
  const linking = createLinking(world, { refLifeMs: options.refLifeMs ?? 20_000, refCount: options.refCount ?? 6 });
  const build = options.build ?? '2026-09';
  const page: PageOptions = { build, version: builds[build], ballastMb: 0, syncRace: false, groupsWork: build !== '2026-09' };
  const missing = new Set<string>();

  const web = createHttpsServer({ key, cert }, (req, res) => serveWeb(req, res, { page, media: world.media }));
  const lines = new WebSocketServer({ server: web, path: '/ws/chat', maxPayload: 64 * 1024 * 1024 });
  lines.on('connection', (socket) => serveLine(socket, { world, linking, report: (module) => missing.add(module) }));
  const control = createControl({ world, linking, page, missing });
  const api = createHttpServer((req, res) => void control(req, res));
  await Promise.all([listen(web, options.port ?? 0), listen(api, options.controlPort ?? 0)]);

  const httpsPort = (web.address() as AddressInfo).port;
  const controlUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  return {
    httpsPort,
    controlUrl,
    phoneUrl: `${controlUrl}/phone`,
    browserArgs: [
      `--host-resolver-rules=MAP *.whatsapp.com:443 127.0.0.1:${httpsPort},MAP *.whatsapp.net:443 127.0.0.1:${httpsPort},EXCLUDE localhost`,
      `--ignore-certificate-errors-spki-list=${spki}`,
    ],
    client: simulatorClient(controlUrl),
    async close(): Promise<void> {
      for (const socket of lines.clients) socket.terminate();
      await Promise.all([shut(web), shut(api)]);
    },
  };
}

function serveWeb(
  req: IncomingMessage,
  res: ServerResponse,
  { page, media }: { page: PageOptions; media: Map<string, Buffer> },
): void {
  const { pathname } = new URL(req.url ?? '/', 'https://web.whatsapp.com');
  if (pathname.startsWith('/mms/')) return serveMedia(req, res, pathname, media);
  if (pathname === '/app.js') {
    res.writeHead(200, { 'content-type': 'text/javascript', 'cache-control': 'no-store' });
    return void res.end(script(page));
  }
  if (pathname !== '/') return void res.writeHead(404).end();
  res.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  res.end('<!doctype html><title>WhatsApp</title><body><div id="app"></div><script src="/app.js"></script>');
}

/** All page files in the order of their names, as one script. */
function script(page: PageOptions): string {
  const files = readdirSync(pageFolder)
    .filter((name) => name.endsWith('.js'))
    .sort();
  return `'use strict';(() => {\nconst options = ${JSON.stringify(page)};\n${files.map((name) => readFileSync(join(pageFolder, name), 'utf8')).join('\n')}\n})();`;
}

function serveMedia(req: IncomingMessage, res: ServerResponse, path: string, media: Map<string, Buffer>): void {
  if (req.method === 'GET') {
    const bytes = media.get(path);
    if (!bytes) return void res.writeHead(404).end();
    res.writeHead(200, { 'content-type': 'application/octet-stream' });
    return void res.end(bytes);
  }
  const chunks: Buffer[] = [];
  req.on('data', (chunk: Buffer) => chunks.push(chunk));
  req.on('end', () =>
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(storeMedia(media, Buffer.concat(chunks)))),
  );
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
