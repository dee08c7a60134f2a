import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
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

  test('a file that is larger than announced is cut off at the limit, told as failed once, and nothing stays on the disk', async () => {
    for (const announced of [10, null]) {
      const liar = await arrives(randomBytes(limit * 3), announced);
      const file = await settled(liar);
      expect(file).toMatchObject({ state: 'failed', reason: expect.stringContaining('MAX_INBOUND_FILE_SIZE') });
      expect(asked(liar)).toBe(1);
      const names = await readdir(join(core.rig.dataDir, 'media'), { recursive: true });
      expect(names.filter((name) => name.includes(file.id))).toEqual([]);
    }
  });

  test('thousands of files of sessions that are not connected cost nothing and hold up no other; connected again, they are fetched', async () => {
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

  test('a worker that never answers holds up the files of its own sessions only', async () => {
    const silent: Server = createServer(() => undefined).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { body } = await core.post('/sessions', { name: `silent-${database}` });
    const { id } = body.data as { id: string };
    const { url } = { url: `http://127.0.0.1:${(silent.address() as AddressInfo).port}` };
    const db = core.rig.database;
    await db.write.run(async (tx) => {
      await tx.manager.query(
        `INSERT INTO workers (id, url, "bootId", version, draining, capacity, sessions, "memoryMb", "lastHeartbeatAt")
         SELECT 'silent', '${url}', "bootId", version, draining, capacity, 0, "memoryMb", "lastHeartbeatAt" FROM workers LIMIT 1`,
      );
      await updateRows(tx, Session, { id }, { status: 'connected', workerId: 'silent', leaseEpoch: 1 });
    });
    try {
      for (let n = 0; n < 6; n += 1) await arrives(Buffer.from('%PDF-1.4 x'), null, id);
      for (let n = 0; n < 6; n += 1) expect((await settled(await arrives(Buffer.from('%PDF-1.4 x'), null))).state).toBe('stored');
    } finally {
      await db.write.run((tx) => updateRows(tx, Session, { id }, { status: 'disconnected' }));
      silent.closeAllConnections();
      await new Promise((resolve) => silent.close(resolve));
    }
  }, 60_000);
});
