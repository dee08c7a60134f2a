import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Contact, MessageResource, ObservedMessage } from '@chasqui/shared';
import { runStatement } from '../src/db/statement.js';
import { makeAccount } from './support/account.js';
import { databases } from './support/backend.js';
import { dataOf, startCore, type Core } from './support/core.js';
import { eventually } from './support/eventually.js';

/** One search field finds messages by text, by who they are from or to, by the name of the chat, and by both ids. */

const digits = '5521988877766';
const lid = '277012345678901@lid';
const group = { id: '120363000000000077@g.us', type: 'group' as const, name: 'Padaria do Porto' };
const bruna = (name: string | null = 'Bruna Días'): Contact => ({ id: `${digits}@c.us`, phone: `+${digits}`, lid, name });
const other: Contact = { id: '447400123123@c.us', phone: '+447400123123', lid: null, name: 'Ines Okafor' };

const finder =
  (core: Core) =>
  async (term: string, more: { key?: string; query?: string } = {}): Promise<string[]> => {
    const path = `/messages?search=${encodeURIComponent(term)}&limit=200${more.query ?? ''}`;
    const { body } = await core.rig.call('GET', path, more.key ? { key: more.key } : {});
    if (!body.success) throw new Error(JSON.stringify(body.error));
    return (body.data as MessageResource[]).map(({ id }) => id).sort();
  };

async function receive(core: Core, text: string | null, more: Partial<ObservedMessage> = {}, sessionId = core.sessionId) {
  const content = text === null ? { type: 'location' as const, latitude: 1, longitude: 2, name: null, address: null } : undefined;
  const message = core.inbound(text ?? '', { ...(content ? { content } : {}), ...more } as Partial<ObservedMessage>);
  await core.worker.emit(sessionId, 'message.observed', { message, origin: 'live' });
  return eventually('the message to be recorded', async () => {
    const { body } = await core.get(`/messages?sessionId=${sessionId}&limit=1`);
    const [newest] = body.data as MessageResource[];
    return newest?.whatsappId === message.whatsappId ? newest : null;
  });
}
const fromBruna = { chat: { id: lid, type: 'private' as const, name: 'Bruna Días' }, contact: bruna(), from: lid };
const inGroup = (contact: Contact) => ({ chat: group, contact, from: contact.id, to: group.id });

describe.each(await databases())('a search on %s', (database) => {
  let core: Core;
  let find: ReturnType<typeof finder>;
  const ids: Record<string, string> = {};
  const whatsappIds: Record<string, string> = {};
  const all = (...names: string[]): string[] => names.map((name) => ids[name]!).sort();
  const isIndexed = () =>
    eventually('everything to be indexed', async () => {
      const { rows } = await runStatement<{ n: number | string }>(
        core.rig.database.reader,
        'SELECT COUNT(*) AS n FROM search_queue',
      );
      return Number(rows[0]!.n) === 0;
    });

  beforeAll(async () => {
    core = await startCore({ database });
    find = finder(core);
    const add = (name: string, { id, whatsappId }: MessageResource): void => {
      ids[name] = id;
      whatsappIds[name] = whatsappId ?? '';
    };
    add('question', await receive(core, 'Is the bread ready?', fromBruna));
    add('place', await receive(core, null, fromBruna));
    add('answer', dataOf(await core.send('At nine', { recipient: digits, async: true })));
    add('mine', await receive(core, 'I come too', inGroup(bruna())));
    add('theirs', await receive(core, 'So do I', inGroup(other)));
    add('ana', await receive(core, 'Good morning'));
  });
  afterAll(() => core.close());

  test('finds texts, names, numbers in any form and ids, before and after a message is indexed', async () => {
    const withBruna = all('question', 'place', 'answer', 'mine');
    const cases: [string, string[]][] = [
      ['bread', all('question')],
      ...['Bruna', 'DÍAS', 'bruna días', digits, `+${digits}`, '+55 (21) 98887-7766', '0055 21 98887 7766', '21 98887-7766'].map(
        (term): [string, string[]] => [term, withBruna],
      ),
      ...['98887-7766', '552188877766', '(021) 98887-7766', `${digits}@c.us`, `${digits}@s.whatsapp.net`, lid].map(
        (term): [string, string[]] => [term, withBruna],
      ),
      ['padaria', all('mine', 'theirs')],
      [group.id, all('mine', 'theirs')],
      ['Okafor', all('theirs')],
      ['+44 7400 123123', all('theirs')],
      [ids['place']!, all('place')],
      [ids['place']!.toUpperCase(), all('place')],
      [whatsappIds['place']!, all('place')],
      [whatsappIds['place']!.split('_')[2]!, all('place')],
      ['Días Bruna', []],
      ['+55 21 98887-7767', []],
      ['+21 98887-7766', []],
    ];
    for (const stage of ['waiting', 'indexed']) {
      if (stage === 'indexed') await isIndexed();
      for (const [term, expected] of cases) expect([stage, term, await find(term)]).toEqual([stage, term, expected]);
    }
  });

  test('applies all other filters, and pages by cursor return each message once', async () => {
    expect(await find('Bruna', { query: '&direction=outbound' })).toEqual(all('answer'));
    expect(await find(digits, { query: '&type=location' })).toEqual(all('place'));
    expect(await find(ids['place']!, { query: '&direction=outbound' })).toEqual([]);
    for (const order of ['asc', 'desc']) {
      const paged: string[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const { body } = await core.get(`/messages?search=bruna&limit=1&order=${order}${cursor && `&cursor=${cursor}`}`);
        paged.push(...(body.data as MessageResource[]).map(({ id }) => id));
        cursor = (body.meta as { nextCursor: string | null }).nextCursor;
      }
      const expected = all('question', 'place', 'answer', 'mine');
      expect([order, paged]).toEqual([order, order === 'asc' ? expected : expected.reverse()]);
    }
  });

  test('finds nothing of another account, and for a key of one session only what that session knows', async () => {
    const stranger = await makeAccount(core.rig);
    for (const term of ['bread', 'Bruna', digits, ids['place']!, whatsappIds['place']!, 'padaria', lid])
      expect([term, await find(term, { key: stranger.key })]).toEqual([term, []]);
    const second = (await core.post('/sessions/init', { name: 'second' })).body.data as { sessionId: string };
    await core.worker.link(second.sessionId);
    const bare = { id: lid, phone: null, lid, name: null };
    const here = await receive(
      core,
      'To the second',
      { ...fromBruna, chat: { ...fromBruna.chat, name: null }, contact: bare },
      second.sessionId,
    );
    const made = (await core.post(`/sessions/${second.sessionId}/keys`, { name: 'k', permissions: ['messages.receive'] })).body;
    const { key } = made.data as { key: string };
    expect(await find('To the', { key })).toEqual([here.id]);
    for (const term of ['Bruna', digits, 'padaria', ids['place']!]) expect([term, await find(term, { key })]).toEqual([term, []]);
    expect(await find(lid, { key })).toEqual([here.id]);
    expect(await find('Bruna')).not.toContain(here.id);
  });

  test('compares the names of now, and no name with a number', async () => {
    ids['renamed'] = (await receive(core, 'New name', { ...fromBruna, contact: bruna('Bruna Souza') })).id;
    expect(await find('Días')).toEqual([]);
    expect(await find('souza')).toEqual(all('question', 'place', 'answer', 'mine', 'renamed'));
    await receive(core, 'Renamed', { ...inGroup(other), chat: { ...group, name: 'Padaria Nova' } });
    expect(await find('do Porto')).toEqual([]);
    expect(await find('padaria nova')).toContain(ids['mine']);
    const liar: Contact = { id: '447400123199@c.us', phone: '+447400123199', lid: null, name: `+${digits}` };
    const lie = await receive(core, 'Trust me', {
      chat: { id: liar.id, type: 'private', name: liar.name },
      contact: liar,
      from: liar.id,
    });
    expect(await find(digits)).not.toContain(lie.id);
  });

  test('finds a placeholder by the type of the content that arrives for it', async () => {
    const chat = { id: other.id, type: 'private' as const, name: other.name };
    const key = '3A00000000000000PENDING';
    const from = { chat, contact: other, from: other.id, key, whatsappId: `false_${other.id}_${key}` };
    const empty = { type: 'unknown', whatsappType: 'ciphertext', message: null, placeholder: 'undecrypted' } as const;
    const { id } = await receive(core, '', { ...from, content: empty as never });
    await isIndexed();
    const media = { id: null, mimetype: 'image/png', size: 3, filename: null, sha256: null };
    const message = core.inbound('', { ...from, content: { type: 'image', media, caption: null } as never });
    await core.worker.emit(core.sessionId, 'message.observed', { message, origin: 'live' });
    await eventually('the image', async () => (await core.message(id)).type === 'image');
    await isIndexed();
    expect(await find('Okafor', { query: '&type=image' })).toEqual([id]);
    expect(await find('Okafor', { query: '&type=unknown' })).toEqual([]);
  });

  test('finds no deleted message, and nothing by the name or number of an erased person', async () => {
    await core.rig.call('DELETE', `/messages/${ids['renamed']}?scope=log`);
    for (const term of ['souza', ids['renamed']!, digits]) expect(await find(term)).not.toContain(ids['renamed']);
    const asked = (await core.post('/privacy/erasures', { contact: other.phone, confirm: other.phone })).body.data as {
      id: string;
    };
    await eventually('the erasure to end', async () => {
      const { body } = await core.get(`/privacy/erasures/${asked.id}`);
      return (body.data as { status: string }).status === 'done';
    });
    for (const term of ['Okafor', '+44 7400 123123', other.id]) expect([term, await find(term)]).toEqual([term, []]);
    expect(await find('padaria nova')).toContain(ids['theirs']);
  });
});

test.each(await databases())(
  'where no content is stored on %s, a search finds numbers and ids, and no text or name',
  async (database) => {
    const core = await startCore({ database, settings: { MESSAGE_CONTENT_STORAGE: 'metadata' } });
    try {
      const find = finder(core);
      const { id } = await receive(core, 'nobody keeps this', fromBruna);
      await receive(core, 'nor this', inGroup(other));
      for (const term of [digits, '21 98887-7766', lid, id]) expect([term, await find(term)]).toEqual([term, [id]]);
      for (const term of ['keeps', 'Bruna', 'Padaria']) expect([term, await find(term)]).toEqual([term, []]);
    } finally {
      await core.close();
    }
  },
);
