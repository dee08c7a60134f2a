import { afterEach, describe, expect, test } from '@jest/globals';
import type { OutletEvent, SessionStatusResource } from '@chasqui/shared';
import { EventRow } from '../src/events/event.entity.js';
import { Message } from '../src/messages/message.entity.js';
import { databases } from './support/backend.js';
import { observed, startCore, type Core } from './support/core.js';

let core: Core;
afterEach(() => core?.close());

/** PostgreSQL answers each statement over a socket, so that a message takes several times as long. */
const arrivals = { sqlite: 4_000, postgres: 1_000 };
/** A transaction of the inbox ends after a second, whatever is still to be taken in. The rest is for a busy machine; all of them together
 * take a minute. */
const slowestMs = 15_000;

describe.each(await databases())('a burst of arrivals on %s', (database) => {
  const total = arrivals[database];

  test.each([1, 10])(
    `${total} messages that arrive at once over %i sessions, each told twice, are recorded once, and callers are answered meanwhile`,
    async (sessions) => {
      core = await startCore({
        database,
        settings: { MAX_SESSIONS_PER_ACCOUNT: '20', API_KEY_RATE_LIMIT: '0', IP_RATE_LIMIT: '0' },
      });
      const ids = [core.sessionId];
      for (let n = 1; n < sessions; n += 1) {
        const { body } = await core.post('/sessions/init', { name: `s${n}` });
        const { sessionId } = body.data as SessionStatusResource;
        await core.worker.link(sessionId);
        ids.push(sessionId);
      }
      const events = Array.from({ length: total }, (_, n): OutletEvent =>
        core.worker.queue(ids[n % sessions]!, 'message.observed', { message: observed(`m${n}`, {}), origin: 'live' }),
      );
      let done = false;
      const times: number[] = [];
      const asking = (async () => {
        while (!done) {
          const began = performance.now();
          const { status } = await core.send('x', { async: true, queueIfOffline: true }, { 'x-session-id': ids[0]! });
          expect(status).toBe(202);
          times.push(performance.now() - began);
        }
      })();
      // As a worker does it whose line is cut before each answer: the same events come again, beside the first call.
      for (let rest = events; rest.length > 0;) {
        const batch = rest.slice(0, 500);
        const answers = await Promise.all([core.worker.post(batch), core.worker.post(batch)]);
        expect(answers.flatMap(({ refused }) => refused)).toEqual([]);
        const acknowledged = Math.max(...answers.map(({ ackCursor }) => ackCursor));
        rest = rest.filter(({ cursor }) => cursor > acknowledged);
      }
      done = true;
      await asking;
      const rows = await core.rig.database.reader.getRepository(Message).findBy({ direction: 'inbound' });
      expect(rows).toHaveLength(total);
      expect(new Set(rows.map(({ sessionId, text }) => `${sessionId} ${text}`)).size).toBe(total);
      expect(await core.rig.database.reader.getRepository(EventRow).countBy({ type: 'message.received' })).toBe(total);
      expect(times.length).toBeGreaterThan(1);
      expect(Math.max(...times)).toBeLessThan(slowestMs);
    },
    240_000,
  );
});
