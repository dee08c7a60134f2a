import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  answeredSentence,
  createAnsweredFormat,
  closeWaitingConnections,
  listen,
  logAnswered,
  type Answered,
  type LoggedRequest,
} from '@chasqui/shared/express';
import { countAnswered } from '@chasqui/shared/metrics';
import { createLineWriter } from '@chasqui/shared/process';
import { traceRequests } from '@chasqui/shared/tracing';
import type { Disk } from '../disk.js';
import type { Outlet } from '../events/outlet.js';
import { createServer } from '../http/server.js';
import { registerGauges } from '../metrics.js';
import { version } from '../version.js';
import type { Foundation } from './foundation.js';
import type { SessionParts } from './sessions.js';

/** Serves the routes of the worker. Resolves to the port when the server listens. */
export async function openServer(
  core: Foundation,
  sessions: SessionParts,
  parts: { outlet: Outlet; disk: Disk; isHealthy: () => boolean; isLogReplaced: boolean },
): Promise<number> {
  const { config, lifecycle, log, identity, meter } = core;
  registerGauges(meter, { ...sessions, ...parts, capacity: config.maxSessions });
  const uploadDir = join(config.dir, 'tmp');
  await rm(uploadDir, { recursive: true, force: true });
  const app = createServer({
    serviceKey: config.serviceKey,
    maxFileSize: config.maxFileSize,
    uploadDir,
    log,
    onAnswered: createAnswered(core, parts.isLogReplaced),
    traced: core.tracing && traceRequests(core.tracing),
    meter,
    metricsToken: config.metricsToken,
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

function lineWriterOf(processName: string): (request: LoggedRequest) => void {
  const [format, write] = [createAnsweredFormat(processName), createLineWriter()];
  return (request) => write(format(request));
}

/** Returns what every answered request passes through. */
function createAnswered({ config, log, meter }: Foundation, isLogReplaced: boolean): (answered: Answered) => void {
  const isInfo = config.logLevel === 'info' || config.logLevel === 'debug';
  const write = isLogReplaced ? (fields: object): void => log.info(answeredSentence, { ...fields }) : lineWriterOf('worker');
  return (answered) => {
    countAnswered(meter, answered);
    if (isInfo) logAnswered(log, write, answered);
  };
}

const shut = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    closeWaitingConnections(server);
    setTimeout(() => server.closeAllConnections(), 1_000).unref();
  });
