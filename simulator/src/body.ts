import type { IncomingMessage } from 'node:http';

/** The whole body of a request; null when whoever sent it was gone before it was complete, so that nobody waits for an answer. */
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
