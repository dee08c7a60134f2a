import axios from 'axios';
import { createClient, type Transport } from '@chasqui/shared';
import { createAgents } from '@chasqui/shared/http-agents';

export type BackendCall = ReturnType<typeof createClient>;

/** The client of the backend. Every call carries the service key and ends at its timeout. Redirects and proxies are not followed. */
export interface BackendClient {
  /** Calls a route of the contract. Throws `AppError` for an error of the backend, and another error if it does not answer. */
  call: BackendCall;
  /** Closes all connections. */
  close(): void;
}

export function createBackend(options: {
  url: string;
  serviceKey: string;
  defaultTimeoutMs: number;
  traceparent?: () => string | undefined;
}): BackendClient {
  const agents = createAgents();
  const client = axios.create({
    ...agents,
    baseURL: options.url.replace(/(?<!\/)\/+$/, ''),
    headers: { 'X-API-Key': options.serviceKey },
    maxRedirects: 0,
    proxy: false,
    maxBodyLength: Infinity,
    maxContentLength: 16 * 1024 * 1024,
    validateStatus: () => true,
  });
  const transport: Transport = async ({ method, path, query, body, timeoutMs }) => {
    const timeout = timeoutMs ?? options.defaultTimeoutMs;
    // axios' own timeout does not cover a connection that never opens.
    const signal = AbortSignal.timeout(timeout + 500);
    const parent = options.traceparent?.();
    const headers = parent === undefined ? {} : { headers: { traceparent: parent } };
    const response = await client.request<unknown>({ method, url: path, params: query, data: body, timeout, signal, ...headers });
    return { status: response.status, body: response.data };
  };
  return {
    call: createClient(transport),
    close(): void {
      agents.httpAgent.destroy();
      agents.httpsAgent.destroy();
    },
  };
}
