import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { newId } from '@chasqui/shared';
import { insertRow, updateRows } from '../src/db/rows.js';
import { MediaFile } from '../src/media/media-file.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { Session } from '../src/sessions/session.entity.js';
import { databases } from './support/backend.js';
import { startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

const limit = 200_000;

describe.each(await databases())('files of inbound messages on %s', (database) => {
  let core: Core;
  beforeAll(async () => {
    core = await startCore({ database, settings: { MAX_INBOUND_FILE_SIZE: String(limit) } });
  });
  afterAll(() => core?.close());

  /** A document arrives; `announced` is the size that WhatsApp says it has. */
  async function arrives(bytes: Buffer | 'fails', announced: number | null, sessionId = core.sessionId): Promise<string> {
    const media = { id: null, mimetype: 'application/pdf', size: announced, filename: 'a.pdf', sha256: null };
    const message = core.inbound('', { content: { type: 'document', media, caption: null } });
    core.worker.files.set(message.whatsappId, bytes === 'fails' ? bytes : { bytes, mimetype: 'application/pdf' });
    await core.worker.emit(sessionId, 'message.observed', { message, origin: 'live' });
    return message.whatsappId;
  }
  const fileOf = async (whatsappId: string): Promise<MediaFile> => {
    const message = await core.rig.database.reader.getRepository(Message).findOneByOrFail({ whatsappId });
    return core.rig.database.reader.getRepository(MediaFile).findOneByOrFail({ messageId: message.id });
  };
  const settled = (whatsappId: string): Promise<MediaFile> =>
    eventually('the file to be settled', async () => {
      const file = await fileOf(whatsappId);
      return file.state === 'pending' ? null : file;
    });
  /** A session that is not connected, for which so many files have arrived. */
  async function withFiles(name: string, n: number): Promise<{ id: string; files: string[] }> {
    const { body } = await core.post('/sessions', { name });
    const { id } = body.data as { id: string };
    await core.rig.database.write.run((tx) => updateRows(tx, Session, { id }, { workerId: 'worker-a', leaseEpoch: 1 }));
    const files: string[] = [];
    for (let i = 0; i < n; i += 1) files.push(await arrives(Buffer.from('%PDF-1.4 x'), null, id));
    for (const file of files) await eventually('the file to be announced', () => fileOf(file).catch(() => null));
    return { id, files };
  }
  /** Connects the session with a worker of its own at this address. */
  const connectedAt = (id: string, workerId: string, url: string): Promise<void> =>
    core.rig.database.write.run(async (tx) => {
      await tx.manager.query(
        `INSERT INTO workers (id, url, "bootId", version, draining, capacity, sessions, "memoryMb", "lastHeartbeatAt")
         SELECT '${workerId}', '${url}', "bootId", version, draining, capacity, 0, "memoryMb", "lastHeartbeatAt"
         FROM workers WHERE id = 'worker-a'`,
      );
      await updateRows(tx, Session, { id }, { status: 'connected', workerId });
    });
  const asked = (whatsappId: string): number =>
    core.worker.operations.filter(({ input }) => input['whatsappId'] === whatsappId).length;

  test('a file at the limit is stored; one byte more is failed with the reason, by its announced size without a download', async () => {
    const fits = await settled(await arrives(randomBytes(limit), limit));
    expect([fits.state, fits.size]).toEqual(['stored', limit]);
    const big = await arrives(randomBytes(10), limit + 1);
    expect(await settled(big)).toMatchObject({ state: 'failed', reason: expect.stringContaining('MAX_INBOUND_FILE_SIZE') });
    expect(asked(big)).toBe(0);
    const told = (await core.events('message.media')).filter(({ data }) =>
      String(data['reason']).includes('MAX_INBOUND_FILE_SIZE'),
    );
    expect(told).toHaveLength(1);
  });

  test('the file of a message that was deleted from the log is not published', async () => {
    await core.worker.move(core.sessionId, 'connecting', 'RECONNECTING');
    const files = [await arrives(Buffer.from('%PDF-1.4 x'), null), await arrives(Buffer.from('%PDF-1.4 y'), null)];
    const [gone, kept] = await Promise.all(files.map(async (file) => (await fileOf(file)).messageId));
    expect((await core.rig.call('DELETE', `/messages/${gone!}`)).status).toBe(200);
    await core.worker.move(core.sessionId, 'connected', null);
    expect(await Promise.all(files.map(settled))).toMatchObject([{ state: 'stored' }, { state: 'stored' }]);
    const published = async () => (await core.events('message.media')).map(({ data }) => data['id']);
    await eventually('the event of the other file', async () => (await published()).includes(kept!));
    expect(await published()).not.toContain(gone);
  });

  test('a file that is larger than announced is cut off at the limit and reported as failed once, and nothing stays on the disk', async () => {
    for (const announced of [10, null]) {
      const liar = await arrives(randomBytes(limit * 3), announced);
      const file = await settled(liar);
      expect(file).toMatchObject({ state: 'failed', reason: expect.stringContaining('MAX_INBOUND_FILE_SIZE') });
      expect(asked(liar)).toBe(1);
      const names = await readdir(join(core.rig.dataDir, 'media'), { recursive: true });
      expect(names.filter((name) => name.includes(file.id))).toEqual([]);
    }
  });

  test('thousands of files of disconnected sessions cost nothing and delay no other; they are fetched after a reconnection', async () => {
    const { body } = await core.post('/sessions', { name: `away-${database}` });
    const { id: away } = body.data as { id: string };
    const past = new Date(Date.now() - 60_000);
    await core.rig.database.write.run(async (tx) => {
      const { accountId } = await tx.manager.findOneByOrFail(Session, { id: away });
      for (let n = 0; n < 2_000; n += 1)
        await insertRow(tx, MediaFile, {
          id: newId(past.getTime()),
          accountId,
          messageId: newId(past.getTime()),
          sessionId: away,
          state: 'pending',
          mimetype: 'image/png',
          attempts: 0,
          nextAttemptAt: past,
          createdAt: past,
        });
    });
    for (let n = 0; n < 3; n += 1) expect((await settled(await arrives(Buffer.from('%PDF-1.4 x'), null))).state).toBe('stored');
    const untouched = { sessionId: away, state: 'pending' as const, attempts: 0, nextAttemptAt: past };
    expect(await core.rig.database.reader.getRepository(MediaFile).countBy(untouched)).toBe(2_000);
    // Its messages are gone, so each is settled as such as soon as its session is asked.
    await core.rig.database.write.run((tx) =>
      updateRows(tx, Session, { id: away }, { status: 'connected', workerId: 'worker-a' }),
    );
    await eventually('them to be asked for', async () => {
      const left = await core.rig.database.reader.getRepository(MediaFile).countBy({ sessionId: away, state: 'pending' });
      return left < 1_990;
    });
    await core.rig.database.write.run((tx) => updateRows(tx, Session, { id: away }, { status: 'disconnected' }));
  }, 60_000);

  test('a file that fails is tried again later, and the next one of its session does not wait for it', async () => {
    const bad = await arrives('fails', null);
    expect((await settled(await arrives(Buffer.from('%PDF-1.4 x'), null))).state).toBe('stored');
    const { state, attempts, nextAttemptAt } = await eventually('the failure', async () => {
      const file = await fileOf(bad);
      return file.attempts > 0 ? file : null;
    });
    expect([state, attempts, nextAttemptAt!.getTime() > Date.now()]).toEqual(['pending', 1, true]);
    core.worker.files.set(bad, { bytes: Buffer.from('%PDF-1.4 y'), mimetype: 'application/pdf' });
    expect((await settled(bad)).state).toBe('stored');
  });

  test('a download planned far ahead, from before the clock was set back, is due at once', async () => {
    const bad = await arrives('fails', null);
    await eventually('the failure', async () => (await fileOf(bad)).attempts > 0);
    const { id } = await fileOf(bad);
    core.worker.files.set(bad, { bytes: Buffer.from('%PDF-1.4 y'), mimetype: 'application/pdf' });
    await core.rig.database.write.run((tx) =>
      updateRows(tx, MediaFile, { id }, { nextAttemptAt: new Date(Date.now() + 7_200_000) }),
    );
    expect((await settled(bad)).state).toBe('stored');
  });

  test('while the disk cannot store a file nothing is counted against it, and it is fetched as soon as there is room', async () => {
    const media = join(core.rig.dataDir, 'media');
    const told = (): number => core.rig.lines.filter((line) => line.includes('Files cannot be stored now')).length;
    await mkdir(media, { recursive: true });
    await rename(media, `${media}.away`);
    await writeFile(media, ''); // A folder below it cannot be created.
    let files: string[];
    try {
      files = [await arrives(Buffer.from('%PDF-1.4 x'), null), await arrives(Buffer.from('%PDF-1.4 y'), null)];
      await eventually('two failures', () => Promise.resolve(told() >= 2));
      for (const file of files) expect(await fileOf(file)).toMatchObject({ state: 'pending', attempts: 0 });
    } finally {
      await rm(media);
      await rename(`${media}.away`, media);
    }
    for (const file of files) expect((await settled(file)).state).toBe('stored');
  }, 60_000);

  test('a worker that is not reached says nothing about a file: it is asked again, and no attempt is counted', async () => {
    const name = `unreached-${database}`;
    const { id, files } = await withFiles(name, 1);
    await connectedAt(id, name, 'http://127.0.0.1:9');
    const file = await eventually('the next plan', async () => {
      const now = await fileOf(files[0]!);
      return now.nextAttemptAt!.getTime() > now.createdAt.getTime() + 5_000 ? now : null;
    });
    expect(file).toMatchObject({ state: 'pending', attempts: 0 });
    await core.rig.database.write.run((tx) => updateRows(tx, Session, { id }, { status: 'disconnected' }));
  });

  test('sessions are served in rotation, however many files each of them has', async () => {
    const db = core.rig.database;
    const sessions: string[] = [];
    for (let n = 0; n < 8; n += 1) {
      const { body } = await core.post('/sessions', { name: `turn-${n}-${database}` });
      const { id } = body.data as { id: string };
      await db.write.run((tx) => updateRows(tx, Session, { id }, { workerId: 'worker-a', leaseEpoch: 1 }));
      core.worker.sessions.set(id, { epoch: 1, status: 'connected', reason: null, phoneNumber: null, qrText: null });
      sessions.push(id);
    }
    const ofSession = new Map<string, string>();
    for (const id of sessions)
      for (let n = 0; n < 6; n += 1) ofSession.set(await arrives(Buffer.from('%PDF-1.4 x'), null, id), id);
    const before = core.worker.operations.length;
    await db.write.run(async (tx) => {
      for (const id of sessions) await updateRows(tx, Session, { id }, { status: 'connected' });
    });
    const order = await eventually('all to be asked for', () => {
      const asked = core.worker.operations.slice(before).map(({ input }) => ofSession.get(String(input['whatsappId'])));
      return Promise.resolve(asked.length >= 48 ? asked : null);
    });
    for (const id of sessions) core.worker.sessions.delete(id);
    // Before any session is served a fourth time, each was served once.
    const counts = new Map<string | undefined, number>();
    for (const id of order) {
      counts.set(id, (counts.get(id) ?? 0) + 1);
      if (counts.get(id) === 4) break;
    }
    expect(counts.size).toBe(sessions.length);
  }, 60_000);

  test('a worker that never replies delays the files of its own sessions only', async () => {
    let calls = 0;
    const silent: Server = createServer(() => void (calls += 1)).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const name = `silent-${database}`;
    const { id } = await withFiles(name, 6);
    await connectedAt(id, name, `http://127.0.0.1:${(silent.address() as AddressInfo).port}`);
    try {
      await eventually('the first call', () => Promise.resolve(calls > 0));
      for (let n = 0; n < 6; n += 1) expect((await settled(await arrives(Buffer.from('%PDF-1.4 x'), null))).state).toBe('stored');
      expect(calls).toBe(1);
    } finally {
      await core.rig.database.write.run((tx) => updateRows(tx, Session, { id }, { status: 'disconnected' }));
      silent.closeAllConnections();
      await new Promise((resolve) => silent.close(resolve));
    }
  }, 60_000);
});
