import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Contact, ObservedMessage, OptOutResource } from '@chasqui/shared';
import { makeAccount } from './support/account.js';
import { databases, type Reply } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

let lastNumber = 0;
const person = (name: string | null = 'Bea') => {
  lastNumber += 1;
  const digits = `55119760${String(10_000 + lastNumber)}`;
  const lid = `2760${String(10_000_000 + lastNumber)}@lid`;
  const contact: Contact = { id: `${digits}@c.us`, phone: `+${digits}`, lid, name };
  return { digits, id: `${digits}@c.us`, lid, name, contact };
};
type Person = ReturnType<typeof person>;

const warningsOf = ({ body }: Reply) => (body as { warnings?: { code: string }[] }).warnings;
const codeOf = ({ status, body }: Reply) => [status, body.error?.code];
const defaults = { out: ['STOP', 'UNSUBSCRIBE'], in: ['START'], replyOut: null, replyIn: null, languages: {} };

describe.each(await databases())('opt-outs on %s', (database) => {
  let core: Core;
  beforeAll(async () => void (core = await startCore({ database, settings: { DEFAULT_COUNTRY_CODE: '55' } })));
  afterAll(() => core.close());

  const from = (who: Person, text: string, more: Partial<ObservedMessage> = {}): ObservedMessage =>
    core.inbound(text, {
      chat: { id: who.lid, type: 'private', name: who.name },
      contact: who.contact,
      from: who.lid,
      ...more,
    });
  const receive = async (...messages: ObservedMessage[]): Promise<void> => {
    for (const message of messages) await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
  };
  const keywords = (body: object) => core.rig.call('PUT', '/opt-outs/keywords', { body });
  const isOut = async (who: string) => (await core.get(`/opt-outs/${encodeURIComponent(who)}`)).status === 200;
  const remove = (who: string) => core.rig.call('DELETE', `/opt-outs/${encodeURIComponent(who)}`);
  const eventsOf = async (who: Person) =>
    (await core.events('contact.opted_out,contact.opted_in')).filter(({ data }) => (data['contact'] as Contact).id === who.id);
  const sentTo = async (who: Person) =>
    (await core.get(`/messages/list?direction=outbound&contact=${who.digits}&order=asc`)).body.data as {
      id: string;
      text: string;
    }[];
  /** Waits until everything before is ingested. */
  const settled = async (): Promise<void> => {
    const marker = person();
    await receive(from(marker, `marker ${marker.digits}`));
    await eventually('the marker', async () => {
      const { body } = await core.get(`/messages/list?contact=${marker.digits}`);
      return (body.data as unknown[]).length > 0;
    });
  };

  test('a person is added by one id, and read, found and removed by every other', async () => {
    const who = person();
    await receive(from(who, 'hello'));
    await settled();
    const added = await core.post('/opt-outs', { contacts: [who.lid] });
    expect([added.status, added.body.data]).toEqual([
      201,
      [expect.objectContaining({ contact: who.contact, source: 'api', keyword: null })],
    ]);
    for (const form of [
      who.lid,
      who.id,
      who.digits,
      `+${who.digits}`,
      who.digits.slice(2).padStart(who.digits.length - 1, '0'),
    ]) {
      const { body } = await core.get(`/opt-outs/${encodeURIComponent(form)}`);
      expect([form, (body.data as OptOutResource).contact]).toEqual([form, who.contact]);
      const found = await core.get(`/opt-outs?search=${encodeURIComponent(form)}`);
      if (!form.startsWith('0')) expect([form, found.body.meta]).toMatchObject([form, { total: 1 }]);
    }
    const part = await core.get(`/opt-outs?search=${who.lid.slice(0, 12)}`);
    expect(part.body.data).toMatchObject([{ contact: who.contact }]);
    expect((await remove(who.digits)).body.data).toEqual({ deleted: true });
    expect(codeOf(await remove(who.lid))).toEqual([404, 'OPT_OUT_NOT_FOUND']);
    expect((await eventsOf(who)).map(({ type, data }) => [type, data['source']])).toEqual([
      ['contact.opted_out', 'api'],
      ['contact.opted_in', 'api'],
    ]);
    const { body } = await core.get('/audit?limit=200');
    const actions = (body.data as { action: string }[]).map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['opt_out.add', 'opt_out.remove']));
    expect(JSON.stringify(body.data)).not.toContain(who.digits);
  });

  test('adding a person twice is one opt-out and one event', async () => {
    const who = person();
    const both = await core.post('/opt-outs', { contacts: [who.id, who.digits] });
    expect(new Set((both.body.data as OptOutResource[]).map(({ id }) => id)).size).toBe(1);
    await Promise.all([1, 2, 3].map(() => core.post('/opt-outs', { contacts: [who.id] })));
    expect(await eventsOf(who)).toHaveLength(1);
    expect(codeOf(await core.post('/opt-outs', { contacts: [who.id, '120363041234567890@g.us'] }))).toEqual([
      422,
      'INVALID_RECIPIENT',
    ]);
  });

  test('a send to a person who opted out is accepted with a warning, and one to somebody else without', async () => {
    const [who, other] = [person(), person()];
    await receive(from(who, 'hello'));
    await settled();
    await core.post('/opt-outs', { contacts: [who.id] });
    const sent = await core.send('hi', { recipient: who.lid, async: true });
    expect([sent.status, warningsOf(sent)]).toEqual([202, [expect.objectContaining({ code: 'RECIPIENT_OPTED_OUT' })]]);
    expect(warningsOf(await core.send('hi', { recipient: other.id, async: true }))).toBeUndefined();
  });

  test('a keyword opts its sender out and in, each with one event and without an answer by default', async () => {
    const who = person();
    await receive(from(who, ' stop! '));
    await eventually('the opt-out', () => isOut(who.digits));
    expect((await core.get(`/opt-outs/${who.digits}`)).body.data).toMatchObject({
      contact: who.contact,
      source: 'keyword',
      keyword: 'STOP',
    });
    await receive(from(who, 'Start'));
    await eventually('the opt-in', async () => !(await isOut(who.digits)));
    expect(await eventsOf(who)).toMatchObject([
      { type: 'contact.opted_out', data: { source: 'keyword', keyword: 'STOP', replyMessageId: null, contact: who.contact } },
      { type: 'contact.opted_in', data: { source: 'keyword', keyword: 'START' } },
    ]);
    expect(await sentTo(who)).toEqual([]);
  });

  test('a keyword that is observed again, or sent again, changes nothing more', async () => {
    const who = person();
    await keywords({ replyOut: 'You get no more messages.' });
    const message = from(who, 'STOP');
    await receive(message, message, from(who, 'STOP'));
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'backfill' });
    await settled();
    expect(await eventsOf(who)).toHaveLength(1);
    expect(await sentTo(who)).toMatchObject([{ text: 'You get no more messages.' }]);
    // Observed once more after the person was removed by hand: the message is older than that.
    await remove(who.digits);
    await receive(message);
    await settled();
    expect(await isOut(who.digits)).toBe(false);
    await keywords({ replyOut: null });
  });

  test('the answer is an ordinary send to the sender’s chat, named by the event, at most one a day', async () => {
    const who = person();
    await keywords({ replyOut: 'Bye.', replyIn: 'Welcome back.' });
    await receive(from(who, 'stop'));
    await eventually('the opt-out', () => isOut(who.digits));
    const [answer] = await sentTo(who);
    expect((await eventsOf(who))[0]!.data).toMatchObject({ replyMessageId: answer!.id });
    expect(await core.reaches(answer!.id, 'sent')).toMatchObject({ text: 'Bye.', direction: 'outbound', to: who.lid });
    await receive(from(who, 'start'));
    await eventually('the opt-in', async () => !(await isOut(who.digits)));
    expect((await eventsOf(who))[1]!.data).toMatchObject({ replyMessageId: null });
    expect(await sentTo(who)).toHaveLength(1);
    await keywords({ replyOut: null, replyIn: null });
  });

  test('in groups, from the linked account, and inside longer texts, keywords are ordinary words', async () => {
    const who = person();
    const group = { id: '120363000000000001@g.us', type: 'group' as const, name: 'Team' };
    await receive(
      from(who, 'STOP', { chat: group, to: group.id }),
      from(who, 'STOP', { fromMe: true, from: '5511988887777@c.us', to: who.lid }),
      from(who, 'please stop'),
    );
    await settled();
    expect(await isOut(who.digits)).toBe(false);
  });

  test('of two keywords the later one counts, in whatever order they are recorded', async () => {
    const who = person();
    const at = (secondsAgo: number) => ({ timestamp: new Date(Date.now() - secondsAgo * 1_000).toISOString() });
    await receive(from(who, 'START', at(10)), from(who, 'STOP', at(60)));
    await settled();
    expect(await isOut(who.digits)).toBe(false);
    await receive(from(who, 'STOP', at(5)), from(who, 'START', at(30)));
    await settled();
    expect(await isOut(who.digits)).toBe(true);
  });

  test('keywords belong to the account, in several languages with answers of their own', async () => {
    expect((await core.get('/opt-outs/keywords')).body.data).toEqual(defaults);
    const languages = { pt: { out: ['Parar'], in: ['Voltar'], replyOut: 'Certo.' } };
    const changed = await keywords({ out: ['Raus'], replyOut: 'Gut.', languages });
    expect(changed.body.data).toEqual({
      ...defaults,
      out: ['Raus'],
      replyOut: 'Gut.',
      languages: { pt: { ...languages.pt, replyIn: null } },
    });
    const [german, brazilian, english] = [person(), person(), person()];
    await receive(from(german, 'raus'), from(brazilian, 'PARAR.'), from(english, 'stop'));
    await settled();
    expect(await Promise.all([german, brazilian, english].map(({ digits }) => isOut(digits)))).toEqual([true, true, false]);
    expect((await sentTo(german)).map(({ text }) => text)).toEqual(['Gut.']);
    expect((await sentTo(brazilian)).map(({ text }) => text)).toEqual(['Certo.']);
    const refused = await keywords({ in: ['raus'] });
    expect([codeOf(refused), refused.body.error?.details]).toMatchObject([
      [422, 'VALIDATION_FAILED'],
      { fields: [{ path: 'in.0' }] },
    ]);
    const other = await makeAccount(core.rig);
    const { body } = await core.rig.call('GET', '/opt-outs/keywords', { key: other.key });
    expect(body.data).toEqual(defaults);
    await keywords({ ...defaults });
  });

  test('in the storage mode metadata a keyword counts, and of other texts nothing is known', async () => {
    const settings = (storage: string) => core.rig.call('PUT', '/sessions/current', { body: { settings: { storage } } });
    await settings('metadata');
    const { leases } = await core.worker.beat();
    expect(leases.find(({ sessionId }) => sessionId === core.sessionId)?.settings).toMatchObject({
      storage: 'metadata',
      keywords: ['stop', 'unsubscribe', 'start'],
    });
    const [told, untold, silent] = [person(), person(), person()];
    const withheld = { type: 'withheld' as const, of: 'text' as const };
    await receive(
      from(told, '', { content: { ...withheld, keyword: 'stop' } }),
      from(untold, 'Stop!'),
      from(silent, '', { content: withheld }),
    );
    await settled();
    expect(await Promise.all([told, untold, silent].map(({ digits }) => isOut(digits)))).toEqual([true, true, false]);
    const { body } = await core.get(`/messages/list?contact=${untold.digits}`);
    expect(body.data).toMatchObject([{ text: null, content: null }]);
    await settings('full');
  });

  test('if no answer can be accepted, the person is opted out all the same', async () => {
    const who = person();
    await keywords({ replyOut: 'Bye.' });
    await core.rig.call('PUT', '/sessions/current', { body: { settings: { dailyLimit: 1 } } });
    await core.send('the last one', { async: true });
    await receive(from(who, 'stop'));
    await eventually('the opt-out', () => isOut(who.digits));
    expect((await eventsOf(who))[0]!.data).toMatchObject({ replyMessageId: null });
    expect(await sentTo(who)).toEqual([]);
    await core.rig.call('PUT', '/sessions/current', { body: { settings: { dailyLimit: null } } });
    await keywords({ replyOut: null });
  });

  test('another account neither sees nor removes them', async () => {
    const who = person();
    await core.post('/opt-outs', { contacts: [who.id] });
    const { key } = await makeAccount(core.rig);
    const call = (method: string, path: string) => core.rig.call(method, path, { key });
    expect((await call('GET', '/opt-outs')).body.data).toEqual([]);
    expect(codeOf(await call('GET', `/opt-outs/${who.digits}`))).toEqual([404, 'OPT_OUT_NOT_FOUND']);
    expect(codeOf(await call('DELETE', `/opt-outs/${who.digits}`))).toEqual([404, 'OPT_OUT_NOT_FOUND']);
    expect(await isOut(who.digits)).toBe(true);
  });

  const upload = (text: string | Uint8Array<ArrayBuffer>, name: string) => {
    const form = new FormData();
    form.set('file', new Blob([text]), name);
    return core.rig.call('POST', '/opt-outs/import', { body: form });
  };

  test('an export as CSV or JSON is imported as it is, by another account too', async () => {
    const [one, two] = [person(), person()];
    await core.post('/opt-outs', { contacts: [one.id, two.lid] });
    const { key } = await makeAccount(core.rig);
    for (const format of ['csv', 'json']) {
      const file = await core.rig.call('GET', `/opt-outs/export?format=${format}`);
      expect(file.headers.get('content-disposition')).toContain(`opt-outs.${format}`);
      const text = format === 'csv' ? String(file.body.data) : JSON.stringify(file.body);
      const total = ((await core.get('/opt-outs')).body.meta as { total: number }).total;
      const form = new FormData();
      form.set('file', new Blob([text]), `list.${format}`);
      const { body } = await core.rig.call('POST', '/opt-outs/import', { key, body: form });
      expect(body.data).toEqual({ added: format === 'csv' ? total : 0, known: format === 'csv' ? 0 : total, invalid: [] });
    }
    for (const who of [one.digits, two.lid]) expect((await core.rig.call('GET', `/opt-outs/${who}`, { key })).status).toBe(200);
  });

  test('lines without a valid person are reported with their number; the others are added', async () => {
    const [one, two, three] = [person(), person(), person()];
    const csv = `\ufeffName;Number\r\n"Bea; B.";${one.id}\r\n\r\nCem;12\r\n"Da ""D""";"+${two.digits}"\r\nGroup;120363041234567890@g.us\r\n`;
    const { body } = await upload(csv, 'people.csv');
    expect(body.data).toMatchObject({
      added: 2,
      known: 0,
      invalid: [
        { row: 4, input: '12' },
        { row: 6, input: '120363041234567890@g.us' },
      ],
    });
    expect(await Promise.all([one, two].map(({ digits }) => isOut(digits)))).toEqual([true, true]);
    const again = await core.post('/opt-outs/import', { contacts: [one.digits, three.digits, 'x'] });
    expect(again.body.data).toMatchObject({ added: 1, known: 1, invalid: [{ row: 3, input: 'x' }] });
    const four = person();
    const utf16 = Buffer.from(`\ufeffNome;Telefone\r\nJosé;${four.id}\r\n`, 'utf16le');
    const latin = Buffer.from(`Nome;Telefone\r\nJosé;${four.id}\r\n`, 'latin1');
    expect((await upload(new Uint8Array(utf16), 'x')).body.data).toEqual({ added: 1, known: 0, invalid: [] });
    expect((await upload(new Uint8Array(latin), 'x')).body.data).toEqual({ added: 0, known: 1, invalid: [] });
    for (const [text, code] of [
      ['[1', 'INVALID_FORMAT'],
      ['"5511', 'INVALID_FORMAT'],
      [`${one.digits}\n`.repeat(10_001), 'TOO_BIG'],
    ] as const)
      expect((await upload(text, 'x')).body.error?.details).toMatchObject({ fields: [{ path: 'file', code }] });
    expect(codeOf(await core.post('/opt-outs/import', {}))).toEqual([422, 'VALIDATION_FAILED']);
  });

  test('an erased person stays opted out, and nothing stored names them', async () => {
    const who = person();
    await receive(from(who, 'stop'));
    await eventually('the opt-out', () => isOut(who.digits));
    const asked = await core.post('/privacy/erasures', { contact: who.digits, confirm: who.digits });
    const erasureId = dataOf(asked).id;
    await eventually('the erasure', async () => {
      const { body } = await core.get(`/privacy/erasures/${erasureId}`);
      return (body.data as { status: string }).status === 'done';
    });
    expect((await core.get(`/opt-outs/${who.digits}`)).body.data).toMatchObject({ contact: null, source: 'keyword' });
    expect((await core.get(`/opt-outs/${who.lid}`)).body.data).toMatchObject({ contact: null });
    const sent = await core.send('hi', { recipient: who.digits, async: true });
    expect(warningsOf(sent)).toMatchObject([{ code: 'RECIPIENT_OPTED_OUT' }]);
    const file = await core.rig.call('GET', '/opt-outs/export');
    expect(String(file.body.data)).not.toContain(who.digits);
  });
});
