import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { databaseErrorKind, DatabaseConnectionLost } from '../src/db/database-errors.js';
import { createAcceptance } from '../src/messages/accept/acceptance.js';
import { IdempotencyRecord } from '../src/messages/accept/idempotency.entity.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { client, closeAfterEach } from './support/own-database.js';

/** Requests while no connection can write. */

closeAfterEach();

describe.each(await databases())('requests on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database });
  }, 60_000);
  afterAll(async () => core?.close());

  /** Keeps everybody from writing, as a backup, a migration by hand or a frozen backend would. */
  async function lockOut(): Promise<() => Promise<void>> {
    if (core.rig.databaseUrl) {
      const foreign = await client(core.rig.databaseUrl);
      await foreign.query('BEGIN');
      await foreign.query('LOCK TABLE event_counters IN ACCESS EXCLUSIVE MODE');
      return async () => void (await foreign.query('ROLLBACK'));
    }
    const file = new Sqlite(join(core.rig.dataDir, 'chasqui.sqlite'), { fileMustExist: true });
    file.exec('BEGIN IMMEDIATE');
    return async () => {
      file.exec('ROLLBACK');
      file.close();
    };
  }

  test('while no write is possible, sends get 503 with Retry-After, ready is 503 in time, and the process replies; afterwards all works', async () => {
    const release = await lockOut();
    try {
      const sends = Array.from({ length: 5 }, () => core.send('locked out', { async: true }));
      // A result is good for a second.
      await eventually('to be unready', async () => (await core.rig.call('GET', '//health/ready', { key: null })).status === 503);
      const started = performance.now();
      const probes = await Promise.all(Array.from({ length: 30 }, () => core.rig.call('GET', '//health/ready', { key: null })));
      expect(performance.now() - started).toBeLessThan(5_000);
      expect(new Set(probes.map(({ status, headers }) => `${status} ${headers.get('retry-after')}`))).toEqual(new Set(['503 5']));
      expect((await core.rig.call('GET', '//health', { key: null })).status).toBe(503);
      let slowest = 0;
      for (let times = 0; times < 10; times += 1) {
        const asked = performance.now();
        expect((await core.rig.call('GET', '//health/live', { key: null })).status).toBe(200);
        slowest = Math.max(slowest, performance.now() - asked);
      }
      expect(slowest).toBeLessThan(1_500);
      for (const { status, headers, body } of await Promise.all(sends))
        expect([status, headers.get('retry-after'), body.error?.code]).toEqual([503, '5', 'DATABASE_UNAVAILABLE']);
    } finally {
      await release();
    }
    await eventually(
      'to be ready again',
      async () => (await core.rig.call('GET', '//health/ready', { key: null })).status === 200,
    );
    expect((await core.send('after the lock', { async: true })).status).toBe(202);
  }, 60_000);

  test('ready is 503 while any table that accepting needs is locked', async () => {
    if (!core.rig.databaseUrl) return; // SQLite locks the whole file, see above.
    const foreign = await client(core.rig.databaseUrl);
    for (const table of ['sessions', 'messages', 'events', 'idempotency_records', 'quota_usage']) {
      await foreign.query('BEGIN');
      await foreign.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);
      // A result is good for a second.
      await eventually(`to be unready while ${table} is locked`, async () => {
        const { status, headers } = await core.rig.call('GET', '//health/ready', { key: null });
        return status === 503 && headers.get('retry-after') === '5';
      });
      await foreign.query('ROLLBACK');
      await eventually('to be ready', async () => (await core.rig.call('GET', '//health/ready', { key: null })).status === 200);
    }
  }, 60_000);

  test('however many wait to be accepted, they are refused together, not one time limit after the other', async () => {
    let attempts = 0;
    const run = async (): Promise<never> => {
      attempts += 1;
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      throw new DatabaseConnectionLost('PostgreSQL did not answer.');
    };
    const unused = {} as never;
    const { accept } = createAcceptance(
      { database: { write: { run } } as never, events: unused, report: () => undefined },
      { contacts: unused, media: unused, idempotency: unused, quotas: unused, enterQueue: async () => undefined },
    );
    const waiting = Array.from({ length: 1_000 }, () =>
      accept({ session: unused, message: {} as never, key: null, file: null }).catch((error: unknown) =>
        databaseErrorKind(error),
      ),
    );
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(['unavailable']));
    // A thousand are sixteen commits.
    expect(attempts).toBeLessThanOrEqual(3);
  }, 60_000);

  test('however many ask whether it is ready, one probe at a time tries', async () => {
    const { write } = core.rig.database;
    const run = write.run.bind(write);
    let running = 0;
    let most = 0;
    let begun = 0;
    write.run = async (work) => {
      begun += 1;
      most = Math.max(most, (running += 1));
      return run(work).finally(() => (running -= 1));
    };
    try {
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      begun = most = 0;
      await Promise.all(Array.from({ length: 200 }, () => core.rig.call('GET', '//health/ready', { key: null })));
      // Others may write meanwhile; two hundred probes did not.
      expect(most).toBeLessThan(10);
      expect(begun).toBeLessThan(50);
    } finally {
      write.run = run;
    }
  });

  const forms: Record<string, (path: string, body: unknown) => string> = {
    'with the prefix of the API': (path, body) => sha256(`POST /api/v1${path}\n${JSON.stringify({ body, file: null })}`),
    'without it': (path, body) => sha256(`POST ${path}\n${JSON.stringify({ body, file: null })}`),
  };
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

  test.each(Object.keys(forms))(
    'a repeat under a key that an earlier version has stored (%s) gets its message; another request does not',
    async (form) => {
      const key = randomUUID();
      const text = { recipient: '5511999990001', message: `upgrade ${form}`, async: true };
      const first = await core.post('/messages/send-text', text, { 'idempotency-key': key });
      expect(first.status).toBe(202);
      // The body as the contract has parsed it, in the order of its fields.
      const record = await core.rig.database.reader.getRepository(IdempotencyRecord).findOneByOrFail({ key });
      expect(record.requestHash).toMatch(/^v2:/);
      const parsed = await parsedBody(record.requestHash, text);
      await core.rig.database.write.run((tx) =>
        tx.manager.update(IdempotencyRecord, { key }, { requestHash: forms[form]!('/messages/send-text', parsed) }),
      );
      const again = await core.post('/messages/send-text', text, { 'idempotency-key': key });
      expect([again.status, again.body.data]).toEqual([first.status, first.body.data]);
      const other = await core.post('/messages/send-text', { ...text, message: 'another' }, { 'idempotency-key': key });
      expect([other.status, other.body.error?.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED']);
    },
  );

  /** The contract adds defaults; which, the present hash tells. */
  async function parsedBody(hash: string, text: object): Promise<unknown> {
    const { sendTyped } = await import('../src/messages/contract.js');
    const parsed: unknown = sendTyped.text.body.parse(text);
    const now = createHash('sha256').update(`POST /api/v1/messages/send-text\n${JSON.stringify({ body: parsed, file: null })}`);
    expect(hash).toBe(`v2:${now.digest('base64url')}`);
    return parsed;
  }
});
