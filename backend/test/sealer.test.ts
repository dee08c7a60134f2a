import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
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
