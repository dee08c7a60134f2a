import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { MessageResource } from '@chasqui/shared';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';
import { startSink, type Sink } from './support/sink.js';

/**
 * A disk that is full, or a file that somebody else holds locked for longer than the busy timeout: while it lasts, nothing is accepted
 * and nothing is answered with success; afterwards every loop goes on by itself, without a restart.
 */
/** More than the pages that happen to be free. */
const long = 'x'.repeat(60_000);

describe('after the database file was away', () => {
  let core: Core;
  let sink: Sink;

  beforeEach(async () => {
    core = await startCore({
      database: 'sqlite',
      settings: { EGRESS_ALLOW: '127.0.0.1/32', WEBHOOK_RETRY_DELAYS: '200,200,200,200,200' },
    });
    sink = await startSink();
    await core.post('/webhooks', { url: sink.url, events: ['message.*'] });
    // The process waits inside SQLite for so long: the usual five seconds are not what is tested here.
    await pragma('busy_timeout = 30');
  });
  afterEach(async () => {
    await core.close();
    await sink.close();
  });

  const pragma = (text: string): Promise<unknown> => core.rig.database.write.run((tx) => tx.manager.query(`PRAGMA ${text}`));
  const deliveredTexts = (): string[] =>
    sink.taken.map(({ body }) => (JSON.parse(body) as { data: { text: string | null } }).data.text ?? '');

  /** Everything that has a loop of its own has work: the outbox, webhooks, files, the inbox, the record of failures, heartbeats. */
  async function work(during: () => Promise<() => Promise<void>>): Promise<void> {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const waiting = dataOf(await core.send('waits since before', { async: true, queueIfOffline: true }));
    const end = await during();

    const refused = await core.send(long, { async: true, queueIfOffline: true }, { 'Idempotency-Key': 'during' });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).not.toBeNull();
    const file = Buffer.from('a file that arrived');
    const media = { id: null, mimetype: 'text/plain', size: file.length, filename: 'a.txt', sha256: null };
    const observed = core.inbound('', { content: { type: 'document', media, caption: null } });
    core.worker.files.set(observed.whatsappId, { bytes: file, mimetype: 'text/plain' });
    const arrivals = [observed, core.inbound(`arrived meanwhile ${long}`)].map((message) =>
      core.worker.queue(core.sessionId, 'message.observed', { message, origin: 'live' }),
    );
    await expect(core.worker.post(arrivals)).rejects.toThrow('503');
    // A beat writes few bytes, for which there may be room; it must not hang.
    await core.worker.beat().catch(() => undefined);
    core.rig.failures.report({ kind: 'cleanup', subject: 'reported meanwhile', code: 'X', detail: 'd' });

    await end();
    await core.worker.post(arrivals);
    await core.worker.move(core.sessionId, 'connected', null);
    await core.worker.beat();
    const again = await core.send(long, { async: true, queueIfOffline: true }, { 'Idempotency-Key': 'during' });
    expect(again.status).toBe(202);
    await core.reaches(dataOf(again).id, 'sent');
    await core.reaches(waiting.id, 'sent');
    expect(core.worker.left.filter(({ command }) => JSON.stringify(command).includes('waits since before'))).toHaveLength(1);
    await eventually('the webhook of what arrived', async () =>
      deliveredTexts().some((text) => text.startsWith('arrived meanwhile')),
    );
    await eventually('the file that arrived', async () => {
      const [message] = (await core.get('/messages?type=document')).body.data as MessageResource[];
      return message && (await core.get(`/messages/${message.id}/media`)).status === 200;
    });
    expect((await core.get('/messages?search=arrived%20meanwhile')).body.meta).toMatchObject({ total: 1 });
    await core.rig.failures.flush();
    const rows = await core.rig.database.write.run((tx) =>
      tx.manager.query<unknown[]>(`SELECT 1 FROM failures WHERE subject = 'reported meanwhile'`),
    );
    expect(rows).toHaveLength(1);
  }

  test('because its disk was full', async () => {
    await work(async () => {
      await pragma('max_page_count = 1');
      return async () => void (await pragma('max_page_count = 1000000'));
    });
  }, 90_000);

  test('because another process had locked it', async () => {
    await work(async () => {
      const other = new Sqlite(join(core.rig.dataDir, 'chasqui.sqlite'));
      other.exec('BEGIN IMMEDIATE');
      return async () => {
        other.exec('ROLLBACK');
        other.close();
      };
    });
  }, 90_000);
});
