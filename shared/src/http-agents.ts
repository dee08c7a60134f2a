import http from 'node:http';
import https from 'node:https';

/**
 * How long a connection without a request is kept, in milliseconds. The side that sends requests must close first: a request that crosses the
 * close of the server fails with `ECONNRESET`, and it is not known whether the server has seen it. With a limit of its own, Node's agent also
 * closes one second before the time that a server announces in `Keep-Alive: timeout`; without one it ignores the announcement.
 */
const maxIdleMs = 60_000;

/* eslint-disable no-restricted-syntax -- the one place where agents are created */
/** Creates the agents of a client that keeps its connections open between requests, by the name that axios gives them. */
export function createAgents(options: { maxFreeSockets?: number } = {}): { httpAgent: http.Agent; httpsAgent: https.Agent } {
  const all = { keepAlive: true, keepAliveMsecs: 10_000, timeout: maxIdleMs, ...options };
  return { httpAgent: new http.Agent(all), httpsAgent: new https.Agent(all) };
}
