import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openDatabase } from '../src/db/database.js';
import { StartProblem } from '../src/lib/start-problem.js';

/** A damaged SQLite file ends the start with a sentence for the operator, whatever the damage is. */
describe('a damaged chasqui.sqlite', () => {
  let dir: string;
  let whole: Buffer;
  let made = 0;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'chasqui-damaged-'));
    const file = join(dir, 'whole.sqlite');
    await (await openDatabase({ file })).close();
    whole = await readFile(file);
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  async function open(bytes: Buffer): Promise<unknown> {
    const file = join(dir, `${(made += 1)}.sqlite`);
    await writeFile(file, bytes);
    try {
      await (await openDatabase({ file })).close();
      return null;
    } catch (error) {
      return error;
    }
  }

  test('that is no database at all is named, with the next step', async () => {
    const error = await open(Buffer.from('not a database '.repeat(1_000)));
    expect(error).toBeInstanceOf(StartProblem);
    expect(String(error)).toMatch(/\.sqlite cannot be read: .*SQLITE_NOTADB.*latest backup in its place/);
  });

  test('is opened, or refused with a sentence, whichever bytes are wrong or missing', async () => {
    const damage = fc.record({
      from: fc.integer({ min: 0, max: 20_000 }),
      length: fc.integer({ min: 1, max: 8_192 }),
      byte: fc.integer({ min: 0, max: 255 }),
      cutAt: fc.option(fc.integer({ min: 1, max: 60_000 }), { freq: 3 }),
    });
    const property = fc.asyncProperty(damage, async ({ from, length, byte, cutAt }) => {
      const bytes = Buffer.from(whole);
      bytes.fill(byte, from, from + length);
      const error = await open(cutAt === null ? bytes : bytes.subarray(0, cutAt));
      if (error !== null) expect(error).toBeInstanceOf(StartProblem);
    });
    await fc.assert(property, { numRuns: 40 });
  }, 120_000);
});
