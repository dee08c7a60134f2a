import { createCipheriv, randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createSealer } from '../src/lib/sealer.js';

const key = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`;

describe('secrets at rest', () => {
  it('come back as they were, in their own place only, and never twice as the same text', () => {
    const sealer = createSealer(key('k1'));
    const sealed = sealer.seal('whsec_ñandú', 'webhooks.secret:1');
    expect(sealed).toMatch(/^k1\.[A-Za-z0-9_-]+$/);
    expect(sealed).not.toContain('whsec');
    expect(sealer.open(sealed, 'webhooks.secret:1')).toBe('whsec_ñandú');
    expect(() => sealer.open(sealed, 'webhooks.secret:2')).toThrow();
    expect(sealer.seal('whsec_ñandú', 'webhooks.secret:1')).not.toBe(sealed);
  });

  it('are refused when one bit was changed or the tag was cut', () => {
    const sealer = createSealer(key('k1'));
    const bytes = Buffer.from(sealer.seal('secret', 'here').slice(3), 'base64url');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(() => sealer.open(`k1.${changed.toString('base64url')}`, 'here')).toThrow();
    }
    expect(() => sealer.open(`k1.${bytes.subarray(0, 20).toString('base64url')}`, 'here')).toThrow();
  });

  it('are read with an older key and written with the first one', () => {
    const [old, fresh] = [key('k1'), key('k2')];
    const sealed = createSealer(old).seal('secret', 'here');
    const both = createSealer(`${fresh}, ${old}`);
    expect([both.open(sealed, 'here'), both.isStale(sealed)]).toEqual(['secret', true]);
    const resealed = both.seal('secret', 'here');
    expect([resealed.startsWith('k2.'), both.isStale(resealed)]).toEqual([true, false]);
    expect(() => createSealer(fresh).open(sealed, 'here')).toThrow('k1');
  });

  it('can be opened again when two keys of the list have one id', () => {
    const sealer = createSealer(`${key('k1')},${key('k1')}`);
    expect(sealer.open(sealer.seal('secret', 'here'), 'here')).toBe('secret');
  });

  it.each(['', 'k1', 'k1:short', ':AAAA', 'k 1:AAAA'])('refuse a list that cannot be used: %j', (keys) => {
    expect(() => createSealer(keys)).toThrow('ENCRYPTION_KEYS');
  });
});

describe('files at rest', () => {
  const pieceBytes = 65_536;
  const whole = async (pieces: AsyncIterable<Buffer>): Promise<Buffer> => {
    const all: Buffer[] = [];
    for await (const piece of pieces) all.push(piece);
    return Buffer.concat(all);
  };
  /** The bytes in chunks of these lengths, and then the rest. */
  async function* chunks(bytes: Buffer, lengths: readonly number[]): AsyncGenerator<Buffer> {
    let at = 0;
    for (const length of lengths) {
      yield bytes.subarray(at, at + length);
      at += length;
    }
    if (at < bytes.length) yield bytes.subarray(at);
  }
  const sealer = createSealer(key('k1'));
  const seal = (bytes: Buffer, place = 'here') => whole(sealer.sealFile(chunks(bytes, []), place));
  const open = (sealed: Buffer, place = 'here', lengths: readonly number[] = []) =>
    whole(sealer.openFile(chunks(sealed, lengths), place));
  // Around the limits of pieces, where a mistake by one shows.
  const size = fc.oneof(
    fc.nat(100),
    fc.tuple(fc.nat(3), fc.integer({ min: -17, max: 17 })).map(([pieces, more]) => Math.max(0, pieces * pieceBytes + more)),
  );
  const lengths = fc.array(fc.nat(100_000), { maxLength: 6 });

  it('come back byte for byte, however they are cut into chunks, and only in their own place', async () => {
    await fc.assert(
      fc.asyncProperty(size, lengths, lengths, async (length, cuts, otherCuts) => {
        const bytes = randomBytes(length);
        const sealed = await whole(sealer.sealFile(chunks(bytes, cuts), 'here'));
        expect((await open(sealed, 'here', otherCuts)).equals(bytes)).toBe(true);
        await expect(open(sealed, 'there')).rejects.toThrow();
        expect((await seal(bytes)).equals(sealed)).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  it('are refused when they are cut anywhere, continued, changed by one bit, or put together from other pieces', async () => {
    await fc.assert(
      fc.asyncProperty(size, fc.double({ min: 0, max: 1, noNaN: true }), async (length, share) => {
        const sealed = await seal(randomBytes(length));
        const at = Math.min(sealed.length - 1, Math.floor(share * sealed.length));
        await expect(open(sealed.subarray(0, at))).rejects.toThrow();
        await expect(open(Buffer.concat([sealed, randomBytes(at + 1)]))).rejects.toThrow();
        const changed = Buffer.from(sealed);
        changed[at]! ^= 1;
        await expect(open(changed)).rejects.toThrow();
      }),
      { numRuns: 60 },
    );
    const head = 'k1~'.length + 32;
    const sealed = await seal(randomBytes(3 * pieceBytes));
    const piece = (number: number): Buffer => {
      const from = head + number * (pieceBytes + 16);
      return sealed.subarray(from, from + pieceBytes + 16);
    };
    const start = sealed.subarray(0, head);
    expect((await open(Buffer.concat([start, piece(0), piece(1), piece(2)]))).length).toBe(3 * pieceBytes);
    for (const order of [[0], [0, 1], [1, 0, 2], [0, 2], [0, 0, 1, 2], [0, 1, 2, 2], []])
      await expect(open(Buffer.concat([start, ...order.map(piece)]))).rejects.toThrow();
  });

  it('that an earlier version sealed as a whole can be opened, and are not stale for that', async () => {
    const secret = randomBytes(32);
    const earlier = createSealer(`k1:${secret.toString('base64')}`);
    const bytes = randomBytes(200_000);
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', secret, nonce).setAAD(Buffer.from('here'));
    const sealed = [cipher.update(bytes), cipher.final()];
    const file = Buffer.concat([Buffer.from('k1.'), nonce, cipher.getAuthTag(), ...sealed]);
    expect((await whole(earlier.openFile(chunks(file, [1, 5, 40]), 'here'))).equals(bytes)).toBe(true);
    await expect(whole(earlier.openFile(chunks(file, []), 'there'))).rejects.toThrow();
    expect([earlier.isStale(file), earlier.isStale(await whole(earlier.sealFile(chunks(bytes, []), 'here')))]).toEqual([
      false,
      false,
    ]);
    expect(createSealer(key('k2')).isStale(file)).toBe(true);
    await expect(whole(createSealer(key('k2')).openFile(chunks(file, []), 'here'))).rejects.toThrow('k1');
  });
});
