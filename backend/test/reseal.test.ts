import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import type { SessionStatusResource } from '@chasqui/shared';
import { Webhook } from 'standardwebhooks';
import { openDatabase } from '../src/db/database.js';
import { insertRow, updateRows } from '../src/db/rows.js';
import { createSealer } from '../src/lib/sealer.js';
import { createEndpointSecrets } from '../src/webhooks/endpoint-secrets.js';
import { Webhook as Hook } from '../src/webhooks/webhook.entity.js';
import { serviceKey, startRig, type Rig } from './support/backend.js';
import { ana, dataOf, quick } from './support/core.js';
import { eventually } from './support/eventually.js';
import { filesUnder } from './support/files.js';
import { startSink } from './support/sink.js';
import { startStandIn } from './support/worker.js';

const key = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`;
const picture = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

// Ids that differ only in case, or by a sign that SQL patterns give a meaning.
test.each([
  ['k1', 'k2'],
  ['k1', 'K1'],
  ['kx', 'k_'],
])(
  'a key %s gives way to %s: what it sealed is sealed again, it can be removed, and everything still works',
  async (was, is) => {
    const [old, fresh] = [key(was), key(is)];
    const dataDir = await mkdtemp(join(tmpdir(), 'chasqui-reseal-'));
    const worker = await startStandIn({ serviceKey });
    const sink = await startSink(503);
    let apiKey = '';
    let rig: Rig | null = null;
    const start = async (keys: string): Promise<Rig> => {
      await rig?.close();
      const settings = {
        ...quick,
        WORKER_URLS: worker.url,
        EGRESS_ALLOW: '127.0.0.1/32',
        ENCRYPTION_KEYS: keys,
        WEBHOOK_RETRY_DELAYS: '200',
      };
      rig = await startRig({ dataDir, settings, jobs: { jobDelays: { afterStartMs: 0 } } });
      apiKey ||= rig.apiKey;
      worker.report(rig.url);
      await worker.beat();
      return rig;
    };
    const call = (method: string, path: string, body?: unknown) => rig!.call(method, path, { key: apiKey, body });
    const sealed = async (): Promise<string[]> => {
      const query = async (sql: string): Promise<string[]> =>
        (await rig!.database.reader.query<{ text: string | null }[]>(sql)).flatMap(({ text }) => text ?? []);
      const files = (await filesUnder(dataDir)).filter((file) => file.includes('/media/') && !file.endsWith('.part'));
      return [
        ...(await query('SELECT secret AS text FROM webhooks')),
        ...(await query('SELECT "oldSecret" AS text FROM webhooks')),
        ...(await query('SELECT headers AS text FROM webhooks')),
        ...(await query('SELECT "proxyPassword" AS text FROM sessions')),
        ...(await query('SELECT sealed AS text FROM messages')),
        ...(await query('SELECT body AS text FROM idempotency_records')),
        ...(await Promise.all(files.map(async (file) => (await readFile(file)).toString('latin1')))),
      ].map((text) => text.slice(0, 3));
    };
    try {
      await start(old);
      const { sessionId } = (await call('POST', '/sessions/init')).body.data as SessionStatusResource;
      await worker.link(sessionId);
      const proxy = { url: 'socks5://proxy.example.com:1080', username: 'shop', password: 'of the proxy' };
      await call('PUT', '/sessions/current', { settings: { storage: 'metadata', proxy } });
      const hook = { url: sink.url, events: ['message.sent'], headers: { 'x-own': 'still here' } };
      const { id: hookId, secret: first } = (await call('POST', '/webhooks', hook)).body.data as { id: string; secret: string };
      const rotate = () =>
        rig!.call('POST', `/webhooks/${hookId}/rotate-secret`, {
          key: apiKey,
          body: {},
          headers: { 'Idempotency-Key': 'rotate' },
        });
      const reply = await rotate();
      const rotated = reply.body.data as { secret: string };
      await worker.move(sessionId, 'connecting', 'RECONNECTING');
      const later = { recipient: ana, async: true, queueIfOffline: true };
      const text = dataOf(await call('POST', '/messages/send-text', { ...later, message: 'under two keys' }));
      const image = { ...later, type: 'image', mediaBase64: picture.toString('base64') };
      const file = dataOf(await call('POST', '/messages/send-media', image));
      // The last one is the file, whose form begins with another mark.
      const allBy = (id: string): string[] => [...Array.from({ length: 7 }, () => `${id}.`), `${id}~`];
      expect(await sealed()).toEqual(allBy(was));

      await start(`${fresh},${old}`);
      await eventually('all to be sealed again', async () => (await sealed()).every((start) => start.startsWith(is)));
      expect(await sealed()).toEqual(allBy(is));
      expect(rig!.lines.filter((line) => line.includes('is now sealed with the first key'))).toHaveLength(1);

      await start(fresh);
      const leases = (await worker.beat()).leases;
      expect(leases.find((lease) => lease.sessionId === sessionId)?.settings?.proxy).toEqual(proxy);
      const repeated = await rotate();
      expect([repeated.body, repeated.headers.get('idempotency-replayed')]).toEqual([reply.body, 'true']);
      sink.answer = 'ok';
      await worker.move(sessionId, 'connected', null);
      await eventually('both to be sent', async () => worker.left.length === 2);
      const commandOf = (id: string) => worker.left.find(({ messageId }) => messageId === id)!;
      expect(commandOf(text.id).command.content).toMatchObject({ type: 'text', message: 'under two keys' });
      expect(commandOf(file.id).file?.bytes.equals(picture)).toBe(true);
      await eventually('both to be told', async () => sink.taken.length >= 2);
      const { headers, body } = sink.taken[0]!;
      expect(headers['x-own']).toBe('still here');
      for (const secret of [first, rotated.secret])
        expect(() => new Webhook(secret).verify(body, headers as Record<string, string>)).not.toThrow();
    } finally {
      await (rig as Rig | null)?.close();
      await worker.close();
      await sink.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  },
  60_000,
);

test('a concurrent change is not overwritten with the former value', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'chasqui-reseal-'));
  const database = await openDatabase({ file: join(dir, 'chasqui.sqlite') });
  const [old, fresh] = [key('k1'), key('k2')];
  const sealer = createSealer(`${fresh},${old}`);
  const { reseal } = createEndpointSecrets({ database, sealer });
  const before = createSealer(old);
  const times = { createdAt: new Date(), updatedAt: new Date() };
  const about = { id: 'hook', accountId: 'account', url: 'https://example.com/', events: [], types: {}, ...times };
  const sealed = {
    secret: before.seal('secret', 'webhooks.secret:hook'),
    headers: before.seal('{"a":"1"}', 'webhooks.headers:hook'),
  };
  try {
    await database.write.run((tx) => insertRow(tx, Hook, { ...about, ...sealed }));
    const [row] = await reseal.page('');
    const changed = sealer.seal('{"a":"2"}', 'webhooks.headers:hook');
    await database.write.run((tx) => updateRows(tx, Hook, { id: 'hook' }, { headers: changed }));
    expect(await reseal.one(row!)).toBe(true);
    const [after] = await reseal.page('');
    expect([after!.headers, sealer.isStale(after!.secret)]).toEqual([changed, false]);
  } finally {
    await database.close();
    await rm(dir, { recursive: true });
  }
});
