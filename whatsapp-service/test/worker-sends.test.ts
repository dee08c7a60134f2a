import { beforeEach, describe, expect, test } from '@jest/globals';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './engine/harness.js';
import { createMemoryEngine, identity } from './memory-engine.js';
import { call, command, connect, it, key, put, reservedId, start, status, useWorker } from './worker-rig.js';

/** Sends and files through the worker's API. */

useWorker();

describe('sends', () => {
  beforeEach(() => connect());

  test('a repeat is answered from the record and never reaches the page', async () => {
    const first = await put();
    expect(first.body.data).toMatchObject({ outcome: 'sent', whatsappId: `true_5511999990001@c.us_${reservedId}` });
    expect((await put()).body.data).toEqual(first.body.data);
    expect(it.engine.sent).toHaveLength(1);
    expect((await put('m1', command({ content: { type: 'text', message: 'other' } }))).body.error.code).toBe(
      'IDEMPOTENCY_KEY_REUSED',
    );
  });

  test('a repeat while the first runs is 202, and sends of a session go one after the other', async () => {
    const finish: (() => void)[] = [];
    it.engine.answer.send = () =>
      new Promise(
        (resolve) => void finish.push(() => resolve({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' })),
      );
    const first = put();
    await until('the first send', () => finish.length === 1);
    const second = put('m2');
    const repeat = await put();
    expect([repeat.status, repeat.body.data]).toEqual([202, { outcome: 'sending' }]);
    await until('both to wait', async () => ((await status())['metrics'] as { queueDepth: number }).queueDepth === 2);
    expect(it.engine.sent).toHaveLength(1);
    finish[0]!();
    await until('the second send', () => finish.length === 2);
    finish[1]!();
    expect((await first).body.data['outcome']).toBe('uncertain');
    expect((await second).status).toBe(200);
  });

  test('a refused send leaves no record', async () => {
    await call('POST', '/api/session/disconnect', { sessionId: 's1' });
    expect((await put()).body.error.code).toBe('SESSION_NOT_CONNECTED');
    await connect();
    expect((await put('m1', command({ content: { type: 'text', message: 'other' } }))).body.data['outcome']).toBe('sent');
  });

  test('a failure that may be tried again is tried again by a repeat, any other is final', async () => {
    it.engine.answer.send = async () => ({ outcome: 'failed', reason: 'CONNECTION_LOST', message: '', retryable: true });
    await put();
    await put();
    expect(it.engine.sent).toHaveLength(2);
    it.engine.answer.send = async () => ({ outcome: 'failed', reason: 'WHATSAPP_REFUSED', message: '', retryable: false });
    await put();
    await put();
    expect(it.engine.sent).toHaveLength(3);
  });

  const lookUp = (more: object = {}) =>
    call('POST', '/api/session/s1/operations/session.lookup', { input: { reservedId, chatId: 'c', ...more } });

  test.each([
    ['an uncertain outcome', { outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' }],
    ['a final failure', { outcome: 'failed', reason: 'RECIPIENT_NOT_ON_WHATSAPP', message: '', retryable: false }],
    ['an uncertain outcome over a restart', { outcome: 'uncertain', reason: 'CRASHED_DURING_SEND', message: '' }],
  ] as const)('%s is answered from the record, and a new attempt reaches the page under the same id', async (what, outcome) => {
    it.engine.answer.send = async (_send, onHandover) => (await onHandover(), outcome);
    await put();
    if (what.endsWith('restart')) {
      await it.worker.close();
      await start(`http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`);
      await connect();
    }
    expect((await put()).body.data).toEqual(outcome);
    expect(it.engine.sent).toHaveLength(1);
    await put('m1', command({ attempt: 2 }));
    expect(it.engine.sent.map((send) => send.reservedId)).toEqual([reservedId, reservedId]);
    await put('m1', command({ attempt: 2 }));
    expect(it.engine.sent).toHaveLength(2);
  });

  test('a sent message is never sent again, whatever the attempt', async () => {
    const first = (await put()).body.data;
    expect((await put('m1', command({ attempt: 5 }))).body.data).toEqual(first);
    expect(it.engine.sent).toHaveLength(1);
  });

  test('a lookup that finds the message with ack 0 proves nothing, one with an ack of the server does', async () => {
    it.engine.answer.send = async () => ({ outcome: 'uncertain', reason: 'TIMEOUT_AFTER_HANDOVER', message: '' });
    await put();
    for (const ack of [0, -1]) {
      it.engine.answer.lookup = () => ({ found: true, whatsappId: 'w', ack });
      await lookUp();
      expect((await put()).body.data['outcome']).toBe('uncertain');
    }
    await put('m1', command({ attempt: 2 }));
    expect(it.engine.sent).toHaveLength(2);
    it.engine.answer.lookup = () => ({ found: true, whatsappId: 'w', ack: 2 });
    await lookUp();
    expect((await put('m1', command({ attempt: 3 }))).body.data).toMatchObject({ outcome: 'sent', whatsappId: 'w', ack: 2 });
    expect(it.engine.sent).toHaveLength(2);
  });

  const other = { phoneNumber: '5511977776666', lid: null };
  test('a session that is linked to another WhatsApp account neither sends nor looks up messages accepted for the former one', async () => {
    const refused = await put('m1', command({ account: other }));
    expect([refused.status, refused.body.error.code]).toEqual([409, 'SESSION_IDENTITY_CHANGED']);
    expect((await lookUp({ account: other })).body.error.code).toBe('SESSION_IDENTITY_CHANGED');
    expect([it.engine.sent.length, it.engine.lookups]).toEqual([0, 0]);
    const own = { phoneNumber: identity.phoneNumber, lid: null };
    expect((await put('m1', command({ account: own }))).body.data['outcome']).toBe('sent');
  });

  test('a page that does not report its account sends nothing that was accepted for a known one, until it does', async () => {
    const own = { phoneNumber: identity.phoneNumber, lid: null };
    for (const unknown of [
      { phoneNumber: null, lid: null },
      { phoneNumber: null, lid: '123@lid' },
    ]) {
      it.engine.last().signal({ type: 'ready', identity: { ...identity, ...unknown } });
      expect((await put('m1', command({ account: own }))).body.error.code).toBe('SESSION_NOT_CONNECTED');
      expect((await lookUp({ account: own })).body.error.code).toBe('SESSION_NOT_CONNECTED');
    }
    expect([it.engine.sent.length, it.engine.lookups]).toEqual([0, 0]);
    it.engine.last().signal({ type: 'ready', identity });
    expect((await put('m1', command({ account: own }))).body.data['outcome']).toBe('sent');
  });

  test('an account that changes while a message waits for its hand-over or a lookup runs is noticed', async () => {
    const own = { phoneNumber: identity.phoneNumber, lid: null };
    const relink = (): void => it.engine.last().signal({ type: 'ready', identity: { ...identity, ...other } });
    it.engine.answer.send = async (_send, onHandover) => {
      relink();
      await onHandover();
      throw new Error('It was handed over as the other account.');
    };
    expect((await put('m1', command({ account: own }))).body.error.code).toBe('SESSION_IDENTITY_CHANGED');
    it.engine.last().signal({ type: 'ready', identity });
    it.engine.answer.lookup = () => (relink(), { found: true, whatsappId: 'w', ack: 3 });
    expect((await lookUp({ account: own })).body.error.code).toBe('SESSION_IDENTITY_CHANGED');
  });

  test.each([
    ['found', { found: true, whatsappId: 'w', ack: 1 }, { outcome: 'sent', whatsappId: 'w' }, 1],
    ['found with ack 0', { found: true, whatsappId: 'w', ack: 0 }, { outcome: 'uncertain', reason: 'CRASHED_DURING_SEND' }, 1],
    ['refused', { found: true, whatsappId: 'w', ack: -1 }, { outcome: 'failed', reason: 'WHATSAPP_REFUSED' }, 1],
    ['proven absent', { found: false, proven: true }, { outcome: 'sent' }, 2],
    ['neither', { found: false, proven: false }, { outcome: 'uncertain', reason: 'CRASHED_DURING_SEND' }, 1],
  ])(
    'a send that a killed worker had handed over is looked up: %s',
    async (_, found, outcome, sends) => {
      // The page never answers; a copy of the folder is what a kill at this moment leaves on the disk.
      let release = (): void => undefined;
      it.engine.answer.send = async (_send, onHandover) => {
        await onHandover();
        return new Promise((resolve) => {
          release = () => resolve({ outcome: 'uncertain', reason: 'CRASHED_DURING_SEND', message: '' });
        });
      };
      void put().catch(() => undefined);
      await until('the hand-over', () => it.engine.sent.length === 1);
      const former = it.dir;
      const after = mkdtempSync(join(tmpdir(), 'chasqui-worker-'));
      cpSync(join(former, 'worker'), join(after, 'worker'), { recursive: true, filter: (path) => !path.endsWith('.lock') });
      const dead = it.worker;
      const fresh = createMemoryEngine();
      fresh.answer.lookup = () => found;
      const before = it.engine;
      it.engine = fresh;
      it.dir = after;
      await start(`http://127.0.0.1:${(it.backend.address() as AddressInfo).port}`);
      await connect();
      expect((await put()).body.data).toMatchObject(outcome);
      expect(fresh.sent.length + before.sent.length).toBe(sends);
      expect(fresh.lookups).toBe(1);
      expect((await put()).body.data).toMatchObject(outcome);
      expect(fresh.lookups).toBe(1);
      release();
      await dead.close();
      rmSync(former, { recursive: true, force: true });
    },
    30_000,
  );
});

describe('files', () => {
  beforeEach(() => connect());
  const media = { id: null, mimetype: 'text/plain', size: 5, filename: 'a.txt', sha256: null };
  const form = (bytes: string, content: object = { type: 'document', media }): FormData => {
    const data = new FormData();
    data.set('command', JSON.stringify(command({ content })));
    data.set('file', new Blob([bytes], { type: 'text/plain' }), 'a.txt');
    return data;
  };
  const kept = (): string[] => readdirSync(join(it.dir, 'worker', 'tmp'));

  test('multipart with command and file is sent from a file of ours, which is removed afterwards', async () => {
    let seen = '';
    it.engine.answer.send = async (send, onHandover) => {
      await onHandover();
      seen = readFileSync(send.file!.path, 'utf8');
      return { outcome: 'sent', whatsappId: 'w', ack: 1, at: new Date().toISOString() };
    };
    expect((await put('m1', form('bytes'))).body.data).toMatchObject({ outcome: 'sent' });
    expect([seen, kept()]).toEqual(['bytes', []]);
    await put('m1', form('bytes'));
    expect(it.engine.sent).toHaveLength(1);
    expect((await put('m1', form('other'))).body.error.code).toBe('IDEMPOTENCY_KEY_REUSED');
    expect(kept()).toEqual([]);
  });

  test('a file that is too large is 413, and nothing of it stays or troubles the worker', async () => {
    expect((await put('m1', form('x'.repeat(5_000)))).body.error.code).toBe('FILE_TOO_LARGE');
    expect(kept()).toEqual([]);
    expect(it.engine.sent).toEqual([]);
  });

  test('a file without its bytes, and multipart that breaks off, are the caller’s fault', async () => {
    expect((await put('m1', command({ content: { type: 'document', media } }))).body.error.code).toBe('VALIDATION_FAILED');
    const broken = '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf';
    const headers = { 'X-API-Key': key, 'content-type': 'multipart/form-data; boundary=b' };
    expect((await call('PUT', '/api/session/s1/messages/m1', broken, headers)).body.error.code).toBe('MALFORMED_REQUEST');
    expect(kept()).toEqual([]);
  });

  test('the simple routes send text, multipart and base64', async () => {
    expect(
      (await call('POST', '/api/message/send-text', { sessionId: 's1', recipient: '+55 11 99999-0001', message: 'hi' })).body
        .data,
    ).toMatchObject({ outcome: 'sent' });
    expect(
      (await call('POST', '/api/message/send-text', { sessionId: 's1', recipient: 'nonsense', message: 'hi' })).body.error.code,
    ).toBe('INVALID_RECIPIENT');
    const data = new FormData();
    for (const [name, value] of Object.entries({ sessionId: 's1', recipient: '5511999990001', type: 'document', epoch: '1' }))
      data.set(name, value);
    data.set('file', new Blob(['bytes'], { type: 'text/plain' }), 'a.txt');
    expect((await call('POST', '/api/message/send-media', data)).body.data).toMatchObject({ outcome: 'sent' });
    const mediaBase64 = Buffer.from('bytes').toString('base64');
    const json = { sessionId: 's1', recipient: '5511999990001', type: 'image', mimetype: 'image/png', mediaBase64 };
    expect((await call('POST', '/api/message/send-media', json)).body.data).toMatchObject({ outcome: 'sent' });
    expect(it.engine.sent.map(({ recipient, content }) => [recipient, content.type])).toEqual([
      ['5511999990001@c.us', 'text'],
      ['5511999990001@c.us', 'document'],
      ['5511999990001@c.us', 'image'],
    ]);
  });

  test('a file from outside is handed on as bytes, never as a page', async () => {
    const response = await fetch(`${it.worker.url}/api/session/s1/operations/messages.downloadMedia`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ input: { whatsappId: 'w' } }),
    });
    expect([response.headers.get('content-type'), response.headers.get('content-disposition')]).toEqual([
      'application/octet-stream',
      'attachment',
    ]);
    expect(decodeURIComponent(response.headers.get('x-media-type')!)).toBe('text/html');
    expect(await response.text()).toBe('<b>bytes</b>');
  });

  test('a file that breaks off in the page ends the connection, so that the backend does not take it for whole', async () => {
    it.engine.answer.bytes = async function* () {
      yield Buffer.from('<b>by');
      throw new Error('The page is gone.');
    };
    const response = await fetch(`${it.worker.url}/api/session/s1/operations/messages.downloadMedia`, {
      method: 'POST',
      headers: { 'X-API-Key': key, 'content-type': 'application/json' },
      body: JSON.stringify({ input: { whatsappId: 'w' } }),
    });
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '12']);
    await expect(response.text()).rejects.toThrow();
    // The worker goes on.
    expect((await fetch(`${it.worker.url}/health`)).status).toBe(200);
  });

  test.each(['x'.repeat(100_000), '\ud83d', 'a\ud83d\r\nX: y', '\0', '\u20ac'.repeat(5_000)])(
    'a file with an unusual type is still passed on (%#)',
    async (mimetype) => {
      it.engine.answer.mimetype = () => mimetype;
      const response = await fetch(`${it.worker.url}/api/session/s1/operations/messages.downloadMedia`, {
        method: 'POST',
        headers: { 'X-API-Key': key, 'content-type': 'application/json' },
        body: JSON.stringify({ input: { whatsappId: 'w' } }),
      });
      expect([response.status, await response.text()]).toEqual([200, '<b>bytes</b>']);
      expect(response.headers.get('x-media-type')!.length).toBeLessThanOrEqual(2_000);
    },
  );
});
