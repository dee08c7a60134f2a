import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { databases } from './support/backend.js';
import { ana, dataOf, startCore, type Core } from './support/core.js';

/** The kinds of sends beyond texts and files: what is accepted, what reaches the worker, and what is refused before anything is stored. */

describe.each(await databases())('kinds of sends on %s', (database) => {
  let core: Core;
  const count = async () => (await core.get('/messages?direction=outbound&limit=1')).body.meta?.['total'];

  beforeAll(async () => {
    core = await startCore({ database });
  });
  afterAll(() => core?.close());

  describe('a calendar event', () => {
    const event = { recipient: ana, name: ' Delivery ', startsAt: '2027-01-15T11:00:00-03:00', endsAt: '2027-01-15T15:00:00Z' };

    test('leaves with its times in UTC, and is sent after an uncertain attempt under the same id', async () => {
      core.worker.scripts.push({ do: 'uncertain', ack: 1 });
      const sent = await core.post('/messages/send-calendar-event', { ...event, location: 'Main street 1' });
      const id = dataOf(sent).id;
      expect(await core.reaches(id, 'sent')).toMatchObject({
        type: 'calendar_event',
        text: 'Delivery',
        content: {
          name: 'Delivery',
          description: null,
          startsAt: '2027-01-15T14:00:00.000Z',
          endsAt: '2027-01-15T15:00:00.000Z',
          location: 'Main street 1',
          callType: 'none',
        },
      });
      expect(core.worker.puts.filter((put) => put === id)).toHaveLength(1);
    });

    test.each([
      ['ends before it starts', { endsAt: '2027-01-15T13:00:00Z' }, 'endsAt'],
      ['has no start', { startsAt: undefined }, 'startsAt'],
      ['has a name of blanks', { name: '   ' }, 'name'],
      ['goes to a channel', { recipient: '120363000000000001@newsletter' }, 'recipient'],
    ])('is refused and not stored when it %s', async (_what, change, path) => {
      const before = await count();
      const refused = await core.post('/messages/send-calendar-event', { ...event, ...change });
      expect(refused.status).toBe(422);
      expect(refused.body.error?.details?.['fields']).toMatchObject([{ path }]);
      expect(await count()).toBe(before);
    });
  });
});
