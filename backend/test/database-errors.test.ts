import { describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { QueryFailedError } from 'typeorm';
import { runStatement } from '../src/db/statement.js';
import { databaseErrorKind, markConnectionError } from '../src/db/database-errors.js';
import { asAppError } from '../src/http/server.js';
import { StorageFailed } from '../src/lib/storage-failed.js';
import { ownDatabase, serviceKey, startRig, type Rig } from './support/backend.js';
import { startCore } from './support/core.js';
import { closeAfterEach, closers, describeOnPostgres } from './support/own-database.js';

/** What the errors of the database mean to a caller. Whole servers that fail are in `database-faults.e2e.test.ts`. */

closeAfterEach();

describe('the meaning of an error of the database', () => {
  const unavailable = [
    ...[
      '08000',
      '08001',
      '08003',
      '08006',
      '08P01',
      '25006',
      '25P03',
      '25P04',
      '28P01',
      '26000',
      '3D000',
      '3F000',
      '40001',
      '40003',
      '40P01',
      '53000',
      '53200',
    ],
    ...[
      '53300',
      '55006',
      '55P03',
      '57000',
      '57014',
      '57P01',
      '57P02',
      '57P03',
      '57P05',
      '58000',
      '58030',
      'XX000',
      'XX001',
      '42501',
    ],
    ...[
      'SQLITE_BUSY',
      'SQLITE_BUSY_SNAPSHOT',
      'SQLITE_BUSY_RECOVERY',
      'SQLITE_LOCKED',
      'SQLITE_LOCKED_SHAREDCACHE',
      'SQLITE_IOERR',
    ],
    ...[
      'SQLITE_IOERR_FSYNC',
      'SQLITE_IOERR_WRITE',
      'SQLITE_READONLY',
      'SQLITE_READONLY_DBMOVED',
      'SQLITE_CANTOPEN',
      'SQLITE_CORRUPT',
    ],
  ];
  const full = ['53100', 'SQLITE_FULL', 'SQLITE_IOERR_NOSPC'];
  const sockets = ['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'EAI_AGAIN'];
  const withCode = (code: string): Error => Object.assign(new Error('driver'), { code });
  /** As drivers, the ORM and Node hand errors on. */
  const wrapped: ((error: Error) => unknown)[] = [
    (error) => error,
    (error) => new QueryFailedError('SELECT 1', [], error),
    (error) => new Error('outer', { cause: error }),
    (error) => new AggregateError([new Error('first'), error]),
    (error) => new Error('outer', { cause: new QueryFailedError('SELECT 1', [], error) }),
  ];

  test('all trouble of the database is 503, however it is wrapped; nothing else is', () => {
    for (const wrap of wrapped) {
      for (const code of unavailable)
        expect([code, asAppError(wrap(withCode(code))).code]).toEqual([code, 'DATABASE_UNAVAILABLE']);
      for (const code of full) expect([code, asAppError(wrap(withCode(code))).code]).toEqual([code, 'STORAGE_FULL']);
      for (const code of sockets) {
        expect([code, asAppError(wrap(markConnectionError(withCode(code)))).code]).toEqual([code, 'DATABASE_UNAVAILABLE']);
        // Somebody else's socket: of a worker, of a caller that went away.
        expect([code, asAppError(wrap(withCode(code))).code]).toEqual([code, 'INTERNAL_ERROR']);
      }
    }
    // A disk that turned read-only or fails, a folder without permission, no descriptors left: whatever file it was.
    for (const wrap of wrapped)
      for (const code of ['EROFS', 'EIO', 'EACCES', 'EPERM', 'ESTALE', 'EMFILE', 'ENFILE']) {
        const failed = Object.assign(withCode(code), { syscall: 'open' });
        expect([code, asAppError(wrap(failed)).code]).toEqual([code, 'STORAGE_UNAVAILABLE']);
        expect([code, asAppError(wrap(new StorageFailed(failed))).code]).toEqual([code, 'STORAGE_UNAVAILABLE']);
      }
    for (const code of ['ENOSPC', 'EDQUOT'])
      expect([code, asAppError(new StorageFailed(withCode(code))).code]).toEqual([code, 'STORAGE_FULL']);
    for (const code of ['42601', '22001', '23502', 'SQLITE_ERROR', 'SQLITE_CONSTRAINT_NOTNULL'])
      expect([code, asAppError(withCode(code)).code]).toEqual([code, 'INTERNAL_ERROR']);
  });

  test('any thrown value is classified without throwing', () => {
    fc.assert(
      fc.property(fc.anything(), (thrown) => {
        expect([null, 'unavailable', 'full', 'conflict', 'data']).toContain(databaseErrorKind(thrown));
        expect(asAppError(thrown).status).toBeGreaterThanOrEqual(400);
      }),
    );
  });
});

describeOnPostgres('a schema that is gone while the program runs', () => {
  test('is 503 with Retry-After and a log line with the next step, not 500', async () => {
    const own = await ownDatabase();
    closers.push(own.drop);
    const rig = await startRig({ databaseUrl: own.url });
    closers.push(() => rig.close());
    await rig.database.write.run((tx) => tx.manager.query('ALTER TABLE webhooks RENAME COLUMN url TO gone'));
    const column = await rig.call('GET', '/webhooks');
    await rig.database.write.run((tx) => tx.manager.query('ALTER TABLE webhooks RENAME TO elsewhere'));
    const table = await rig.call('GET', '/webhooks');
    for (const { status, headers, body } of [column, table]) {
      expect([status, body.error?.code]).toEqual([503, 'DATABASE_UNAVAILABLE']);
      expect(headers.get('retry-after')).not.toBeNull();
    }
    expect(rig.lines.join()).toContain('Restart the backend, which migrates it');
  }, 60_000);
});

describeOnPostgres('one batch of events at two backends', () => {
  test('is stored once, and is no error of either, also when it names a session that does not exist', async () => {
    const core = await startCore({ database: 'postgres' });
    closers.push(core.close);
    const second: Rig = await startRig({ databaseUrl: core.rig.databaseUrl!, settings: { WORKER_URLS: core.worker.url } });
    closers.push(second.close);
    const hand = (url: string, events: unknown[]): Promise<Response> =>
      fetch(`${url}/internal/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-api-key': serviceKey },
        body: JSON.stringify({ workerId: core.worker.workerId, bootId: 'boot-1', events }),
      });
    const keys: string[] = [];
    for (let round = 0; round < 8; round += 1) {
      const events = [1, 2, 3].map(() => {
        const message = core.inbound('twice');
        keys.push(message.key);
        return core.worker.queue(core.sessionId, 'message.observed', { message, origin: 'live' });
      });
      const unknown = { ...events[0]!, id: randomUUID(), sessionId: randomUUID(), sequence: 1 };
      const answers = await Promise.all(
        [core.rig.url, second.url, core.rig.url, second.url].map((url) => hand(url, [...events, unknown])),
      );
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    }
    const { rows } = await runStatement<{ whatsappKey: string }>(
      core.rig.database.reader,
      `SELECT "whatsappKey" FROM messages WHERE direction = 'inbound'`,
    );
    expect(rows.map(({ whatsappKey }) => whatsappKey).sort()).toEqual([...keys].sort());
    const complaints = [...core.rig.lines, ...second.lines].filter((line) =>
      /could not be ingested|A request failed|are refused/.test(line),
    );
    expect(complaints).toEqual([]);
  }, 60_000);
});
