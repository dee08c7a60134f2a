import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { AppError } from '@chasqui/shared';

/** What Node refuses before there is a request to answer, as `error.code` tells it. */
const known: Record<string, [status: string, sentence: string]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too large. At most 16 KB.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request did not arrive in time.'],
};

/** Answers what is no HTTP in the envelope of every other refusal, and closes the line: what follows on it cannot be understood. */
export function answerBrokenRequests(server: Server): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') return socket.destroy();
    const [status, sentence] = known[error.code ?? ''] ?? ['400 Bad Request', 'This is not HTTP.'];
    const { code } = new AppError('MALFORMED_REQUEST');
    const body = JSON.stringify({ success: false, error: { code, message: sentence, details: {} }, requestId: randomUUID() });
    const head = [
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
    ];
    socket.end(`HTTP/1.1 ${status}\r\n${head.join('\r\n')}\r\n\r\n${body}`);
  });
}
