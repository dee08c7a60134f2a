import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { closeWaitingConnections, listen } from '@chasqui/shared/express';
import type { Disk } from '../disk.js';
import type { Outlet } from '../events/outlet.js';
import { createServer } from '../http/server.js';
import { version } from '../version.js';
import type { Foundation } from './foundation.js';
import type { SessionParts } from './sessions.js';

/** Serves the routes of the worker. Resolves to the port when the server listens. */
export async function openServer(
  { config, lifecycle, log, identity }: Foundation,
  sessions: SessionParts,
  parts: { outlet: Outlet; disk: Disk; isHealthy: () => boolean },
): Promise<number> {
  const uploadDir = join(config.dir, 'tmp');
  await rm(uploadDir, { recursive: true, force: true });
  const app = createServer({
    serviceKey: config.serviceKey,
    maxFileSize: config.maxFileSize,
    uploadDir,
    log,
    routes: {
      ...sessions,
      worker: { ...identity, version, capacity: config.maxSessions },
      browser: { path: config.browser.path, profile: config.browser.profile },
      sendDeadlineMs: config.sendDeadlineMs,
      outletPending: parts.outlet.pending,
      isHealthy: parts.isHealthy,
      diskFreeMb: parts.disk.freeMb,
    },
  });
  const server = listen(app, config.port, config.host, {
    maxConnections: 1_024,
    // Above the longest deadline that a command may have.
    idleMs: 660_000,
  });
  await once(server, 'listening');
  lifecycle.add('HTTP server', { phase: 'connections', stop: () => shut(server) });
  return (server.address() as AddressInfo).port;
}

const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    closeWaitingConnections(server);
    setTimeout(() => server.closeAllConnections(), 1_000).unref();
  });
