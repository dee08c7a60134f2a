import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { DamagedStoreError, openStore } from '../src/store.js';

/** A damaged file ends the start with a sentence for the operator, whatever the damage is. */
describe('a damaged worker.sqlite', () => {
  let dir: string;
  let whole: Buffer;
  let made = 0;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'chasqui-damaged-'));
    const file = join(dir, 'whole.sqlite');
    openStore(file).close();
    whole = readFileSync(file);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  function open(bytes: Buffer): unknown {
    const file = join(dir, `${(made += 1)}.sqlite`);
    writeFileSync(file, bytes);
    try {
      openStore(file).close();
      return null;
    } catch (error) {
      return error;
    }
  }

  test('that is no database at all is named, with the next step', () => {
    const error = open(Buffer.from('not a database '.repeat(1_000)));
    expect(error).toBeInstanceOf(DamagedStoreError);
    expect(String(error)).toMatch(/\.sqlite cannot be read: .*SQLITE_NOTADB.*replace it with a backup/);
  });

  test('is opened, or refused with a sentence, whichever bytes are wrong or missing', () => {
    const damage = fc.record({
      from: fc.integer({ min: 0, max: 20_000 }),
      length: fc.integer({ min: 1, max: 8_192 }),
      byte: fc.integer({ min: 0, max: 255 }),
      cutAt: fc.option(fc.integer({ min: 1, max: 40_000 }), { freq: 3 }),
    });
    const property = fc.property(damage, ({ from, length, byte, cutAt }) => {
      const bytes = Buffer.from(whole);
      bytes.fill(byte, from, from + length);
      const error = open(cutAt === null ? bytes : bytes.subarray(0, cutAt));
      if (error !== null) expect(error).toBeInstanceOf(DamagedStoreError);
    });
    // The number of the schema format is in the header: SQLite names a value that it does not know as a plain error.
    const unknownFormat = { from: 44, length: 4, byte: 5, cutAt: null };
    // Without its version number the file looks as if its tables were still to be created.
    const noVersion = { from: 60, length: 4, byte: 0, cutAt: null };
    fc.assert(property, { numRuns: 100, examples: [[unknownFormat], [noVersion]] });
  });
});
