import type { IncomingMessage } from 'node:http';

/** The whole body of a request; null when the sender disconnected before it was complete, so that no reply is expected. */
export async function bodyOf(req: IncomingMessage): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of req) chunks.push(chunk as Buffer);
  } catch (error) {
    if (req.destroyed) return null;
    throw error;
  }
  return Buffer.concat(chunks);
}
