import http from 'node:http';
import type { Readable } from 'node:stream';
import {
  AppError,
  createClient,
  workerRoutes,
  type CaughtUp,
  type MessageReason,
  type ObservedSession,
  type SendCommand,
  type SendOutcome,
  type Transport,
  type WorkerSettings,
} from '@chasqui/shared';
import axios, { type AxiosInstance } from 'axios';

/** The file of a message: read while it is sent. */
export interface OutgoingFile {
  name: string;
  blob: () => Promise<Blob>;
}

/** What came back of a send: the worker's word, or that there was none. */
export type PutResult = SendOutcome | { outcome: 'refused'; reason: MessageReason } | { outcome: 'unknown' };

export type WorkerClient = ReturnType<typeof createWorkerClient>;

/** Refused before a byte of the request was on the line: nothing can have been done. */
const unreached = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN']);

/** Errors that speak of the two processes, not of the caller's request: a caller could do nothing with them. */
const between: ReadonlySet<string> = new Set([
  'UNAUTHENTICATED',
  'STALE_EPOCH',
  'SESSION_NOT_FOUND',
  'ROUTE_NOT_FOUND',
  'OPERATION_NOT_FOUND',
  'SHUTTING_DOWN',
]);

const unavailable = (cause: string, reached: boolean): AppError => new AppError('WORKER_UNAVAILABLE', { cause, reached });

/** Calls to workers. Every one has a time limit; no call is repeated here. */
export function createWorkerClient({ serviceKey }: { serviceKey: string }) {
  const agent = new http.Agent({ keepAlive: true });
  const clients = new Map<string, { axios: AxiosInstance; call: ReturnType<typeof createClient> }>();

  function to(url: string) {
    let known = clients.get(url);
    if (!known) {
      const instance = axios.create({
        baseURL: url.replace(/(?<!\/)\/+$/, ''),
        httpAgent: agent,
        headers: { 'X-API-Key': serviceKey },
        maxRedirects: 0,
        proxy: false,
        maxBodyLength: Infinity,
        maxContentLength: Infinity,
        validateStatus: () => true,
      });
      const transport: Transport = async ({ method, path, query, body, timeoutMs = 10_000 }) => {
        const { status, data } = await instance.request<unknown>({
          method,
          url: path,
          params: query,
          data: body,
          timeout: timeoutMs,
          signal: AbortSignal.timeout(timeoutMs + 500),
        });
        return { status, body: data };
      };
      clients.set(url, (known = { axios: instance, call: createClient(transport) }));
    }
    return known;
  }

  /**
   * Throws `WORKER_UNAVAILABLE` for whatever went wrong on the way, with `details.reached`: false when certainly nothing arrived there.
   * Of the worker's own errors those pass that speak of WhatsApp or of room; what is between the two processes stays between them.
   */
  async function calling<T>(work: Promise<{ data: T }>): Promise<T> {
    try {
      return (await work).data;
    } catch (error) {
      if (error instanceof AppError) throw between.has(error.code) ? unavailable(error.code, false) : error;
      if (!axios.isAxiosError(error) && (error as Error).name !== 'TimeoutError') throw error;
      const code = (error as { code?: string }).code ?? 'TIMEOUT';
      throw unavailable(code, !unreached.has(code));
    }
  }

  return {
    health: (url: string) => calling(to(url).call(workerRoutes.health, {}, { timeoutMs: 2_000 })),
    init: (
      url: string,
      body: {
        sessionId: string;
        epoch: number;
        deviceName: string | null;
        settings: WorkerSettings;
        leaseMs: number;
        caughtUp: CaughtUp | null;
      },
    ): Promise<ObservedSession> => calling(to(url).call(workerRoutes.init, { body }, { timeoutMs: 10_000 })),
    status: (url: string, id: string): Promise<ObservedSession> =>
      calling(to(url).call(workerRoutes.status, { params: { id } }, { timeoutMs: 2_000 })),
    disconnect: (url: string, body: { sessionId: string; epoch: number; logout: boolean }): Promise<ObservedSession> =>
      calling(to(url).call(workerRoutes.disconnect, { body }, { timeoutMs: 40_000 })),
    operation: (
      url: string,
      id: string,
      operation: string,
      body: { epoch: number; input: Record<string, unknown>; deadlineMs: number },
    ): Promise<{ output?: unknown }> =>
      calling(to(url).call(workerRoutes.operation, { params: { id, operation }, body }, { timeoutMs: body.deadlineMs + 5_000 })),

    /** Hands a message over, once per message id however often it is called. Never rejects: what is not known is `unknown`. */
    async send(url: string, id: string, messageId: string, command: SendCommand, file: OutgoingFile | null): Promise<PutResult> {
      try {
        const form = file ? await formOf(command, file) : undefined;
        const { data } = await to(url).call(
          workerRoutes.send,
          { params: { id, messageId }, body: command },
          { timeoutMs: command.deadlineMs + 30_000, ...(form ? { form } : {}) },
        );
        return data;
      } catch (error) {
        return withoutAnswer(error);
      }
    },

    /**
     * The file of a message, as a stream of bytes that the caller must read or destroy. Throws `FILE_TOO_LARGE` when the worker says that it
     * is above `maxBytes`, `MEDIA_EXPIRED` when WhatsApp does not have it any more, `WORKER_UNAVAILABLE` otherwise. `signal` ends the
     * call and the stream.
     */
    async download(
      url: string,
      id: string,
      body: { epoch: number; input: { whatsappId: string; maxBytes: number }; deadlineMs: number },
      signal: AbortSignal,
    ): Promise<{ bytes: Readable; mimetype: string; filename: string | null }> {
      const path = `/api/session/${id}/operations/messages.downloadMedia`;
      const answer = await to(url)
        .axios.post<Readable>(path, body, { responseType: 'stream', timeout: body.deadlineMs + 5_000, signal })
        .catch((error: { code?: string }) => {
          throw new AppError('WORKER_UNAVAILABLE', { cause: error.code ?? 'TIMEOUT' });
        });
      if (answer.status !== 200) {
        const code = await errorCodeOf(answer.data);
        if (code === 'FILE_TOO_LARGE') throw new AppError('FILE_TOO_LARGE', { limit: body.input.maxBytes });
        const isGone = code === 'MEDIA_EXPIRED' || code === 'MEDIA_NOT_FOUND';
        throw new AppError(isGone ? 'MEDIA_EXPIRED' : 'WORKER_UNAVAILABLE', { code });
      }
      const header = (name: string): string => {
        const value = String(answer.headers[name] ?? '');
        try {
          return decodeURIComponent(value);
        } catch {
          return value; // A worker that does not encode it.
        }
      };
      return {
        bytes: answer.data,
        mimetype: header('x-media-type') || 'application/octet-stream',
        filename: header('x-media-filename') || null,
      };
    },
    close: (): void => agent.destroy(),
  };
}

/** The code in an error's body, of which no more than an envelope's length is read; null when there is none. */
async function errorCodeOf(body: Readable): Promise<string | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > 65_536) break;
    }
    const { error } = JSON.parse(Buffer.concat(chunks).toString() || '{}') as { error?: { code?: string } };
    return error?.code ?? null;
  } catch {
    return null; // Cut off, or not an envelope: the status says that there is no file.
  }
}

/** 4xx and 503 of the worker: it left no record, so nothing was handed over. Everything else may have been. */
function withoutAnswer(error: unknown): PutResult {
  if (error instanceof AppError) {
    switch (error.code) {
      case 'SESSION_NOT_CONNECTED':
      case 'SESSION_NOT_FOUND':
      case 'STALE_EPOCH':
        return { outcome: 'refused', reason: 'WAITING_FOR_SESSION' };
      case 'SESSION_IDENTITY_CHANGED':
        return { outcome: 'refused', reason: 'SESSION_IDENTITY_CHANGED' };
      case 'SHUTTING_DOWN':
      case 'UNAUTHENTICATED':
        return { outcome: 'refused', reason: 'WORKER_UNAVAILABLE' };
      case 'FILE_TOO_LARGE':
      case 'VALIDATION_FAILED':
        return { outcome: 'failed', reason: 'NOT_SUPPORTED_BY_WHATSAPP', message: error.message, retryable: false };
      default:
        return { outcome: 'unknown' };
    }
  }
  const { code } = error as { code?: string };
  if (code && unreached.has(code)) return { outcome: 'refused', reason: 'WORKER_UNAVAILABLE' };
  // The file is not there any more: the request was never made.
  if (code === 'ENOENT' || code === 'ERR_INVALID_ARG_VALUE')
    return { outcome: 'failed', reason: 'CONTENT_WIPED', message: 'The file of this message was removed.', retryable: false };
  return { outcome: 'unknown' };
}

async function formOf(command: SendCommand, { name, blob }: OutgoingFile): Promise<FormData> {
  const form = new FormData();
  form.set('command', JSON.stringify(command));
  form.set('file', await blob(), name);
  return form;
}
