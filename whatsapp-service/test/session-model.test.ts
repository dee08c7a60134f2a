import { describe, expect, test } from '@jest/globals';
import { sessionMoves, type SessionReason, type SessionStatus } from '@chasqui/shared';
import fc from 'fast-check';
import type { ChallengeKind, EngineSignal } from '../src/engine/engine.js';
import { identity, settle } from './memory-engine.js';
import { createSessionRig } from './session-rig.js';

/** Arbitrary sequences of commands, failures and signals. */

describe('whatever happens', () => {
  type Step =
    | { do: 'start' | 'stop' | 'logout' | 'restart' | 'wait' | 'long' }
    | { fail: SessionReason }
    | { signal: EngineSignal }
    | { challenge: ChallengeKind | null };
  const step = fc.oneof(
    fc.constantFrom<Step>({ do: 'start' }, { do: 'stop' }, { do: 'logout' }, { do: 'restart' }, { do: 'wait' }, { do: 'long' }),
    fc
      .constantFrom<SessionReason>('BROWSER_CRASHED', 'PAGE_LOAD_TIMEOUT', 'NETWORK_UNREACHABLE', 'PROFILE_LOCKED')
      .map((fail): Step => ({ fail })),
    fc.constantFrom<ChallengeKind | null>('passkey', 'other', null).map((challenge): Step => ({ challenge })),
    fc
      .constantFrom<EngineSignal>(
        { type: 'qr', text: 'q', expiresAt: new Date(Date.UTC(2026, 10, 20, 1)) },
        { type: 'qr_exhausted' },
        { type: 'passkey_required' },
        { type: 'authenticated' },
        { type: 'ready', identity },
        { type: 'line', up: false },
        { type: 'line', up: true },
        { type: 'gone', reason: 'BROWSER_CRASHED', detail: '' },
        { type: 'gone', reason: 'LOGGED_OUT_BY_PHONE', detail: '' },
        { type: 'gone', reason: 'CONFLICT', detail: '' },
      )
      .map((signal): Step => ({ signal })),
  );

  test('no move is made that the table does not have, one browser at most is open, and a stop ends it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.boolean(), async (steps, waits) => {
        const model = createSessionRig();
        for (const next of steps) {
          if ('fail' in next) model.engine.failNext(next.fail);
          else if ('challenge' in next) {
            const { challenge } = next;
            model.engine.answer.probe = async () => ({ roundTripMs: 1, canary: true, ...(challenge ? { challenge } : {}) });
          } else if ('signal' in next) {
            model.engine.last()?.signal(next.signal);
          } else if (next.do === 'start') model.session.start(null);
          else if (next.do === 'wait') await model.clock.advance(1_000);
          else if (next.do === 'long') await model.clock.advance(120_000);
          else if (next.do === 'restart') void model.session.restart();
          else void model.session.stop({ logout: next.do === 'logout' });
          if (waits) await settle();
        }
        const stopped = model.session.stop({ logout: false });
        await model.clock.advance(60_000);
        await stopped;
        await model.clock.advance(3_600_000);
        let from: SessionStatus = 'disconnected';
        for (const to of model.statuses()) {
          if (to !== from) expect(sessionMoves[from]).toContain(to);
          from = to;
        }
        expect(model.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
        expect(model.engine.most()).toBeLessThanOrEqual(1);
        expect([model.engine.open(), model.session.observe().status]).toEqual([0, 'disconnected']);
      }),
      { numRuns: 150 },
    );
  }, 60_000);
});
