import type http from 'node:http';
import type { Readable } from 'node:stream';
import {
  AppError,
  createClient,
  workerRoutes,
  type CaughtUp,
  type MessageReason,
  type ObservedSession,
  type OutputOf,
  type SendCommand,
  type SendOutcome,
  type Transport,
  type WorkerSettings,
} from '@chasqui/shared';
import { createAgents } from '@chasqui/shared/http-agents';
import axios, { type AxiosInstance } from 'axios';
import { z } from 'zod';

/** The file of a message or of an operation; `blob` opens it when it is sent. */
export interface OutgoingFile {
  name: string;
  blob: () => Promise<Blob>;
}

/** The result of a send. `refused`: certainly nothing was handed over. `unknown`: no answer came, so the message may have been handed over. */
export type PutResult = SendOutcome | { outcome: 'refused'; reason: MessageReason } | { outcome: 'unknown' };

export interface InitCommand {
  sessionId: string;
  epoch: number;
  deviceName: string | null;
  settings: WorkerSettings;
  leaseMs: number;
  caughtUp: CaughtUp | null;
}

/** One call of an operation, under the session's epoch. */
export interface OperationCommand<Input = Record<string, unknown>> {
  epoch: number;
  input: Input;
  deadlineMs: number;
}

/**
 * Calls workers by their base URL. Every call has a time limit, and none is repeated here.
 *
 * Unless stated otherwise a verb throws the worker's own errors about WhatsApp or about its capacity, and `WORKER_UNAVAILABLE` for everything
 * that went wrong between the two processes. `details.reached` of the latter is false when certainly nothing arrived at the worker.
 */
export interface WorkerClient {
  health(url: string): Promise<OutputOf<typeof workerRoutes.health>>;
  init(url: string, command: InitCommand): Promise<ObservedSession>;
  status(url: string, sessionId: string): Promise<ObservedSession>;
  disconnect(url: string, command: { sessionId: string; epoch: number; logout: boolean }): Promise<ObservedSession>;
  operation(
    url: string,
    sessionId: string,
    operation: string,
    command: OperationCommand,
    file?: OutgoingFile | null,
  ): Promise<{ output?: unknown }>;
  /** Hands a message over, once for each message id however often it is called. Never rejects: without an answer the outcome is `unknown`. */
  send(url: string, sessionId: string, messageId: string, command: SendCommand, file: OutgoingFile | null): Promise<PutResult>;
  /**
   * Returns the file of a message as a stream that the caller must read or destroy. Throws `FILE_TOO_LARGE` when the worker reports more than
   * `maxBytes`, `MEDIA_EXPIRED` when WhatsApp no longer has the file, and `WORKER_UNAVAILABLE` otherwise. `signal` ends the call and the stream.
   */
  download(
    url: string,
    sessionId: string,
    command: OperationCommand<{ whatsappId: string; maxBytes: number }>,
    signal: AbortSignal,
  ): Promise<{ bytes: Readable; mimetype: string }>;
  /** Closes the idle connections. */
  close(): void;
}

interface Connection {
  axios: AxiosInstance;
  call: ReturnType<typeof createClient>;
}

export interface WorkerClientOptions {
  serviceKey: string;
  /** Returns the header `traceparent` of a call that belongs to a trace. Absent: no call does. */
  traceparent?: () => string | undefined;
}

export function createWorkerClient({ serviceKey, traceparent }: WorkerClientOptions): WorkerClient {
  const { httpAgent: agent } = createAgents();
  const connections = new Map<string, Connection>();
  const to = (url: string): Connection => {
    const known = connections.get(url);
    if (known) return known;
    const connection = connect(url, serviceKey, agent, traceparent);
    connections.set(url, connection);
    return connection;
  };
  return {
    health: (url) => dataOf(to(url).call(workerRoutes.health, {}, { timeoutMs: 2_000 })),
    init: (url, body) => dataOf(to(url).call(workerRoutes.init, { body }, { timeoutMs: 10_000 })),
    status: (url, id) => dataOf(to(url).call(workerRoutes.status, { params: { id } }, { timeoutMs: 2_000 })),
    disconnect: (url, body) => dataOf(to(url).call(workerRoutes.disconnect, { body }, { timeoutMs: 40_000 })),
    operation: async (url, id, operation, body, file = null) => {
      const form = file ? { form: await formOf(body, file) } : {};
      const options = { timeoutMs: body.deadlineMs + 5_000, ...form };
      return dataOf(to(url).call(workerRoutes.operation, { params: { id, operation }, body }, options));
    },
    send: (url, id, messageId, command, file) => sendMessage(to(url), id, messageId, command, file),
    download: (url, id, command, signal) => downloadFile(to(url), id, command, signal),
    close: () => agent.destroy(),
  };
}

function connect(
  url: string,
  serviceKey: string,
  agent: http.Agent,
  traceparent: WorkerClientOptions['traceparent'],
): Connection {
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
    const parent = traceparent?.();
    const { status, data } = await instance.request<unknown>({
      method,
      ...(parent === undefined ? {} : { headers: { traceparent: parent } }),
      url: path,
      params: query,
      data: body,
      timeout: timeoutMs,
      signal: AbortSignal.timeout(timeoutMs + 500),
    });
    return { status, body: data };
  };
  return { axios: instance, call: createClient(transport) };
}

/** Error codes of connections that failed before a byte of the request was sent, so that nothing can have been done. */
const unreached = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN']);

/** Errors about the two processes, not about the caller's request: callers of the API could do nothing with them. */
const internalCodes: ReadonlySet<string> = new Set([
  'UNAUTHENTICATED',
  'STALE_EPOCH',
  'SESSION_NOT_FOUND',
  'ROUTE_NOT_FOUND',
  'OPERATION_NOT_FOUND',
  'SHUTTING_DOWN',
]);

const unavailable = (cause: string, reached: boolean): AppError =>
  new AppError('WORKER_UNAVAILABLE', { cause, reached }, reached ? noAnswer : undefined);
const noAnswer =
  'The answer of the worker did not come; it may have done what was asked. Try again in a moment: that does no harm.';

/** For a reply of another form than the contract's: the worker is of another version. What it did is done. */
const unexpected = (error: z.ZodError): AppError =>
  new AppError('WORKER_UNAVAILABLE', { cause: 'UNEXPECTED_REPLY', reached: true, at: error.issues[0]?.path.join('.') ?? '' });

/** Checks the output of an operation. Throws `WORKER_UNAVAILABLE` with `reached: true` for one of another form. */
export function outputOf<T>(schema: z.ZodType<T>, output: unknown): T {
  const parsed = schema.safeParse(output);
  if (!parsed.success) throw unexpected(parsed.error);
  return parsed.data;
}

/** Returns the data of a call and converts its errors, as described above `WorkerClient`. */
async function dataOf<T>(work: Promise<{ data: T }>): Promise<T> {
  try {
    return (await work).data;
  } catch (error) {
    if (error instanceof AppError) throw internalCodes.has(error.code) ? unavailable(error.code, false) : error;
    if (error instanceof z.ZodError) throw unexpected(error);
    if (!axios.isAxiosError(error) && (error as Error).name !== 'TimeoutError') throw error;
    const code = (error as { code?: string }).code ?? 'TIMEOUT';
    throw unavailable(code, !unreached.has(code));
  }
}

async function sendMessage(
  { call }: Connection,
  id: string,
  messageId: string,
  command: SendCommand,
  file: OutgoingFile | null,
): Promise<PutResult> {
  try {
    const form = file ? await formOf(command, file) : undefined;
    const { data } = await call(
      workerRoutes.send,
      { params: { id, messageId }, body: command },
      { timeoutMs: command.deadlineMs + 30_000, ...(form ? { form } : {}) },
    );
    return data;
  } catch (error) {
    return resultOfError(error);
  }
}

async function formOf(command: SendCommand | OperationCommand, { name, blob }: OutgoingFile): Promise<FormData> {
  const form = new FormData();
  form.set('command', JSON.stringify(command));
  const file = await blob();
  // The web copies a blob that it names, and with it only the bytes in memory.
  if (file instanceof File) form.set('file', file);
  else form.set('file', file, name);
  return form;
}

/** Errors 4xx and 503 of the worker mean that it left no record, so nothing was handed over. After any other error it may have been. */
function resultOfError(error: unknown): PutResult {
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
  // The file no longer exists, so no request was made.
  if (code === 'ENOENT' || code === 'ERR_INVALID_ARG_VALUE')
    return { outcome: 'failed', reason: 'CONTENT_WIPED', message: 'The file of this message was removed.', retryable: false };
  return { outcome: 'unknown' };
}

async function downloadFile(
  connection: Connection,
  id: string,
  command: OperationCommand<{ whatsappId: string; maxBytes: number }>,
  signal: AbortSignal,
): Promise<{ bytes: Readable; mimetype: string }> {
  const path = `/api/session/${id}/operations/messages.downloadMedia`;
  const answer = await connection.axios
    .post<Readable>(path, command, { responseType: 'stream', timeout: command.deadlineMs + 5_000, signal })
    .catch((error: { code?: string }) => {
      throw new AppError('WORKER_UNAVAILABLE', { cause: error.code ?? 'TIMEOUT' });
    });
  if (answer.status !== 200) {
    const code = await errorCodeOf(answer.data);
    if (code === 'FILE_TOO_LARGE') throw new AppError('FILE_TOO_LARGE', { limit: command.input.maxBytes });
    const isGone = code === 'MEDIA_EXPIRED' || code === 'MEDIA_NOT_FOUND';
    throw new AppError(isGone ? 'MEDIA_EXPIRED' : 'WORKER_UNAVAILABLE', { code });
  }
  return { bytes: answer.data, mimetype: decoded(answer.headers['x-media-type']) || 'application/octet-stream' };
}

/** Returns the value of a header. Workers percent-encode it; older versions did not. */
function decoded(header: unknown): string {
  const value = String(header ?? '');
  try {
    return decodeURIComponent(value);
  } catch {
    return value; // It was not encoded.
  }
}

/** Returns the code in an error's body; null when there is none. Reads no more than the length of an envelope. */
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
    return null; // The body was cut off or is not an envelope; the status says that there is no file.
  }
}
