import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/**
 * Files that are sealed in pieces, so that one of any size passes without being in memory as a whole. The form is that of the STREAM construction, as
 * age has it: 32 bytes of salt, then pieces of 64 KiB, each sealed by AES-256-GCM with its own tag. The key of a file is derived from the
 * installation's key, the salt and the place (HKDF with SHA-256), so a nonce is the number of the piece and cannot repeat under one key. Its last byte
 * says whether the piece is the last one.
 *
 * | somebody | then |
 * | --- | --- |
 * | changes a byte, exchanges or repeats pieces | the tag of a piece does not fit its number |
 * | cuts the file, also between two pieces | its last piece is not marked as the last one |
 * | appends to it | the piece that is marked as the last one is not |
 * | puts the file in the place of another one | its key is another one |
 */

const saltBytes = 32;
const tagBytes = 16;
const pieceBytes = 65_536;

function createKey(key: Buffer, salt: Buffer, place: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, `chasqui file ${place}`, 32));
}

function nonceOf(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 3);
  nonce.writeUInt8(isLast ? 1 : 0, 11);
  return nonce;
}

/** Returns the bytes in pieces of exactly `size`; the last one, with `isLast`, has the rest. It is empty only if all bytes are. */
async function* inPieces(source: AsyncIterable<Buffer>, size: number): AsyncGenerator<{ bytes: Buffer; isLast: boolean }> {
  let held: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    // The last piece is known only at the end, so a whole one is held back.
    for (; held.length > size; held = held.subarray(size)) yield { bytes: held.subarray(0, size), isLast: false };
  }
  yield { bytes: held, isLast: true };
}

export async function* sealPieces(key: Buffer, source: AsyncIterable<Buffer>, place: string): AsyncGenerator<Buffer> {
  const salt = randomBytes(saltBytes);
  const fileKey = createKey(key, salt, place);
  yield salt;
  let number = 0;
  for await (const { bytes, isLast } of inPieces(source, pieceBytes)) {
    const cipher = createCipheriv('aes-256-gcm', fileKey, nonceOf(number, isLast));
    number += 1;
    yield Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  }
}

/** Yields only bytes whose piece was checked. Throws at the first piece that was changed, and at the end if the file was cut. */
export async function* openPieces(key: Buffer, sealed: AsyncIterable<Buffer>, place: string): AsyncGenerator<Buffer> {
  const { head, rest } = await splitHead(sealed, saltBytes);
  const fileKey = createKey(key, head, place);
  let number = 0;
  for await (const { bytes, isLast } of inPieces(rest, pieceBytes + tagBytes)) {
    if (bytes.length < tagBytes) throw new Error('A sealed file was cut.');
    const end = bytes.length - tagBytes;
    const decipher = createDecipheriv('aes-256-gcm', fileKey, nonceOf(number, isLast), { authTagLength: tagBytes });
    number += 1;
    decipher.setAuthTag(bytes.subarray(end));
    yield Buffer.concat([decipher.update(bytes.subarray(0, end)), decipher.final()]);
  }
}

/** Returns the first bytes of a stream and the rest of it. Throws if it is shorter. */
export async function splitHead(
  source: AsyncIterable<Buffer>,
  length: number,
): Promise<{ head: Buffer; rest: AsyncGenerator<Buffer> }> {
  const chunks = source[Symbol.asyncIterator]();
  let held: Buffer = Buffer.alloc(0);
  while (held.length < length) {
    const { done, value } = await chunks.next();
    if (done) throw new Error('A sealed file was cut.');
    held = Buffer.concat([held, value]);
  }
  return { head: held.subarray(0, length), rest: restOf(held.subarray(length), chunks) };
}

async function* restOf(first: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    if (first.length > 0) yield first;
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) yield next.value;
  } finally {
    await chunks.return?.();
  }
}
