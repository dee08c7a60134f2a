import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { Client } from 'pg';
import { Account } from '../src/accounts/account.entity.js';
import { presenceLockClass } from '../src/db/locks.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { ChatUsage } from '../src/messages/usage/usage.entity.js';
import { archivePath } from '../src/privacy/export.js';
import { PrivacyRequest } from '../src/privacy/privacy-request.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { makeAccount } from './support/account.js';
import { databases } from './support/backend.js';
import { ana, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/**
 * An erasure at the same time as the reconciliation of the statistics, and as an export on another backend. SQLite runs one transaction at a time, so only PostgreSQL can interleave
 * them.
 */

let core: Core | undefined;
const clients: Client[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end()));
  await core?.close();
});

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  clients.push(client);
  await client.connect();
  return client;
}

const postgres = (await databases()).filter((database) => database === 'postgres');
const chatId = `${ana}@c.us`;

(postgres.length > 0 ? test : test.skip)(
  'counts of a chat that are written while its person is erased do not outlive the erasure',
  async () => {
    core = await startCore({ database: 'postgres' });
    const { rig, sessionId } = core;
    const contact = { id: chatId, phone: `+${ana}`, lid: null, name: 'Ana' };
    // The person has no messages: erasing those would need the session's row earlier.
    await core.worker.emit(sessionId, 'contact.observed', { contact });
    const [sessionLock, reconciliation] = [await connect(rig.databaseUrl!), await connect(rig.databaseUrl!)];
    const waiting = async (what: string): Promise<boolean> => {
      // Inside a transaction the first answer would be repeated.
      await sessionLock.query('SELECT pg_stat_clear_snapshot()');
      const sql = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE $1`;
      return (await sessionLock.query(sql, [`%${what}%`])).rows.length > 0;
    };

    // The erasure stops before its last step on rows, because it needs the session's row.
    await sessionLock.query('BEGIN');
    await sessionLock.query('SELECT id FROM sessions WHERE id = $1 FOR UPDATE', [sessionId]);
    const { body } = await core.post('/privacy/erasures', { contact: ana, confirm: ana });
    const erasureId = (body.data as { id: string }).id;
    const statusOf = async (id = erasureId): Promise<string> =>
      ((await core!.get(`/privacy/erasures/${id}`)).body.data as { status: string }).status;
    await eventually('the erasure to wait for the session', () => waiting('sessions'));
    // Somebody asks again meanwhile.
    const again = ((await core.post('/privacy/erasures', { contact: ana, confirm: ana })).body.data as { id: string }).id;

    // The reconciliation has counted the messages of the chat, and writes the counts.
    await reconciliation.query('BEGIN');
    await reconciliation.query(`SELECT last FROM event_counters WHERE scope = 'log' FOR UPDATE`);
    await reconciliation.query(
      `INSERT INTO usage_chats ("accountId", at, "sessionId", "chatId", inbound, outbound)
      SELECT "accountId", 86400000, id, $2, 1, 0 FROM sessions WHERE id = $1`,
      [sessionId, chatId],
    );
    await sessionLock.query('COMMIT');
    await eventually('the erasure to wait for the event log, or to end', async () =>
      (await waiting('event_counters')) || (await statusOf()) === 'done' ? true : null,
    );
    await reconciliation.query('COMMIT');

    await eventually('the erasure to be done', async () => ((await statusOf()) === 'done' ? true : null));
    expect(await rig.database.reader.getRepository(ChatUsage).findBy({ chatId })).toEqual([]);
    const second = await eventually('the second erasure to end', async () => {
      const status = await statusOf(again);
      return status === 'done' || status === 'failed' ? status : null;
    });
    expect(second).toBe('done');
  },
);

(postgres.length > 0 ? test : test.skip)(
  'an erasure waits for an export of its account on another backend, and deletes the archive; other accounts do not wait',
  async () => {
    core = await startCore({ database: 'postgres' });
    const { rig } = core;
    const { write, reader } = rig.database;
    const { accountId } = await reader.getRepository(Session).findOneByOrFail({ id: core.sessionId });
    // The other backend: it runs as long as it has the lock of its name.
    const owner = 'another-backend';
    const lock = createHash('sha256').update(owner).digest().readUInt32BE(0) & 0x7fffffff;
    await (await connect(rig.databaseUrl!)).query('SELECT pg_advisory_lock($1, $2)', [presenceLockClass, lock]);
    const createdAt = new Date();
    const unfinished = { forms: null, finishedAt: null, expiresAt: null };
    const exporting = { id: newId(), accountId, kind: 'export' as const, contact: ana, counts: {}, createdAt, ...unfinished };
    await write.run((tx) => insertRow(tx, PrivacyRequest, { ...exporting, status: 'running', owner, startedAt: createdAt }));
    const erasure = (await core.post('/privacy/erasures', { contact: ana, confirm: ana })).body.data as { id: string };
    const { key } = await makeAccount(rig);
    const behind = (await rig.call('POST', '/privacy/exports', { key, body: { contact: ana } })).body.data as { id: string };
    const read = (kind: string, id: string, as = rig.apiKey) => rig.call('GET', `/privacy/${kind}/${id}`, { key: as });
    const statusOf = async (...of: Parameters<typeof read>) => ((await read(...of)).body.data as { status: string }).status;
    await eventually('the request of the other account', async () => (await statusOf('exports', behind.id, key)) === 'done');
    expect(await statusOf('erasures', erasure.id)).toBe('queued');

    const archive = archivePath(join(rig.dataDir, 'exports'), exporting.id);
    await mkdir(dirname(archive), { recursive: true });
    const draft = archive.replace(/zip$/, 'messages.part');
    for (const file of [archive, draft]) await writeFile(file, 'what was exported');
    const done = { status: 'done' as const, finishedAt: new Date(), expiresAt: new Date(Date.now() + 60_000) };
    await write.run((tx) => updateRows(tx, PrivacyRequest, { id: exporting.id }, done));
    await eventually('the erasure', async () => (await statusOf('erasures', erasure.id)) === 'done');
    expect([existsSync(archive), existsSync(draft), (await read('exports', exporting.id)).body.data]).toMatchObject([
      false,
      false,
      { contact: null },
    ]);
  },
);

test('an erasure whose process died right before its end is done, with its counts', async () => {
  core = await startCore({ linked: false });
  const { write, reader } = core.rig.database;
  const { id: accountId } = await reader.getRepository(Account).findOneByOrFail({ role: 'admin' });
  const createdAt = new Date();
  const unfinished = { status: 'running' as const, owner: 'it-died', startedAt: createdAt, finishedAt: null, expiresAt: null };
  const request = {
    id: newId(),
    accountId,
    kind: 'erasure' as const,
    contact: null,
    forms: null,
    counts: { messages: 3 },
    createdAt,
  };
  await write.run((tx) => insertRow(tx, PrivacyRequest, { ...request, ...unfinished }));
  const ended = await eventually('the erasure to end', async () => {
    const { body } = await core!.get(`/privacy/erasures/${request.id}`);
    const { status, counts } = body.data as { status: string; counts: object };
    return status === 'running' ? null : { status, counts };
  });
  expect(ended).toEqual({ status: 'done', counts: { messages: 3 } });
});
