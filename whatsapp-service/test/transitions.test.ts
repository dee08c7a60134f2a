import { describe, expect, test } from '@jest/globals';
import { sessionMoves, sessionReasons, sessionStatuses, type SessionReason, type SessionStatus } from '@chasqui/shared';
import {
  activeStatuses,
  afterLoss,
  proxyCheckDelayMs,
  recoveryFor,
  restartDelayMs,
  transitionFor,
  transitions,
  type PageSignal,
} from '../src/sessions/transitions.js';

const signals = Object.keys(transitions) as PageSignal[];
const reasons = Object.keys(sessionReasons) as SessionReason[];
const rows = signals.flatMap((signal) => activeStatuses.map((status) => ({ signal, status, ...transitions[signal][status] })));

describe('the effect of a signal', () => {
  test('the table of states has every transition', () => {
    for (const { signal, status, move } of rows)
      if (move && move.to !== status)
        expect([signal, status, sessionMoves[status]]).toContainEqual(expect.arrayContaining([move.to]));
  });

  test('a loss comes alone', () => {
    for (const { loss, move, within, effect } of rows)
      if (loss) expect([move, within, effect]).toEqual([undefined, undefined, undefined]);
  });

  test('only a proof connects, and only a page that is linked', () => {
    const connecting = rows.filter(({ move }) => move?.to === 'connected');
    expect(connecting.map(({ signal, status }) => `${signal} ${status}`)).toEqual(['proven connecting', 'proven connected']);
  });

  test.each<[PageSignal, SessionStatus, string]>([
    ['launched', 'initializing', 'limit start PAGE_LOAD_TIMEOUT'],
    ['launched', 'connecting', ''],
    ['qr', 'initializing', 'qr_pending WAITING_FOR_SCAN, limit code PAGE_UNRESPONSIVE, show_code'],
    ['qr', 'passkey_required', 'qr_pending WAITING_FOR_SCAN, limit code PAGE_UNRESPONSIVE, show_code'],
    ['qr', 'connected', 'lost RECONNECTING'],
    ['qr_above_limit', 'qr_pending', 'lost QR_TIMEOUT'],
    ['qr_above_limit', 'connected', 'lost RECONNECTING'],
    ['qr_exhausted', 'qr_pending', 'lost QR_TIMEOUT'],
    ['passkey_required', 'qr_pending', 'passkey_required WAITING_FOR_PASSKEY, limit passkey QR_TIMEOUT'],
    ['passkey_required', 'connecting', ''],
    ['authenticated', 'qr_pending', 'connecting SYNCING, limit start READY_TIMEOUT'],
    ['authenticated', 'connected', ''],
    ['ready', 'initializing', 'connecting SYNCING, prove'],
    ['ready', 'connected', 'prove'],
    ['line_up', 'connecting', 'prove'],
    ['line_down', 'connected', 'connecting RECONNECTING, limit start NETWORK_UNREACHABLE'],
    ['line_down', 'connecting', ''],
    ['proven', 'connecting', 'connected , watch'],
    ['proven', 'qr_pending', ''],
    ['qr', 'disconnected', ''],
    ['ready', 'error', ''],
  ])('%s in %s: %s', (signal, status, expected) => {
    const { loss, move, within, effect } = transitionFor(signal, status);
    const parts = [
      loss && `lost ${loss.reason}`,
      move && `${move.to} ${move.reason ?? ''}`,
      within && `limit ${within.limit} ${within.reason}`,
      effect,
    ];
    expect(parts.filter(Boolean).join(', ')).toBe(expected);
  });
});

describe('the effect of a loss', () => {
  const fresh = { losses: 0, attempts: 0 };
  const allowed = { count: fresh, mayReconnect: true, maxAttempts: 3 };

  test('the table of states has every resulting status', () => {
    for (const reason of reasons)
      for (const status of activeStatuses)
        for (const mayReconnect of [true, false])
          for (const maxAttempts of [0, 3]) {
            const { to } = afterLoss(reason, { ...allowed, status, mayReconnect, maxAttempts });
            if (to !== status) expect(sessionMoves[status]).toContain(to);
          }
  });

  test('a browser starts again only in a status that a start can leave', () => {
    for (const reason of reasons)
      for (const status of sessionStatuses) {
        const next = afterLoss(reason, { ...allowed, status });
        if (recoveryFor(reason) === 'proxy') expect(next).toMatchObject({ to: 'error', restarts: true });
        else if (next.restarts) expect(['initializing', 'disconnected']).toContain(next.to);
        else expect(['disconnected', 'error']).toContain(next.to);
      }
  });

  test.each([
    ['BROWSER_CRASHED', 'connected', 'initializing', { losses: 1, attempts: 1 }],
    ['BROWSER_CRASHED', 'initializing', 'disconnected', { losses: 1, attempts: 1 }],
    ['BROWSER_CRASHED', 'passkey_required', 'disconnected', { losses: 1, attempts: 1 }],
    ['NETWORK_UNREACHABLE', 'connecting', 'initializing', { losses: 1, attempts: 0 }],
    ['DISK_FULL', 'initializing', 'disconnected', { losses: 1, attempts: 0 }],
  ] as const)('%s in %s starts another browser', (reason, status, to, count) => {
    expect(afterLoss(reason, { ...allowed, status })).toEqual({ to, reason, count, restarts: true });
  });

  test.each([
    ['QR_TIMEOUT', 'disconnected'],
    ['CONFLICT', 'disconnected'],
    ['LOGGED_OUT_BY_PHONE', 'disconnected'],
    ['AUTH_FAILURE', 'error'],
    ['PROFILE_LOCKED', 'error'],
  ] as const)('%s ends in %s and is not counted', (reason, to) => {
    expect(afterLoss(reason, { ...allowed, status: 'connected' })).toEqual({ to, reason, count: fresh, restarts: false });
  });

  test('without autoReconnect it ends, and says so; a final loss keeps its own reason', () => {
    const without = { ...allowed, status: 'connected' as const, mayReconnect: false };
    expect(afterLoss('PAGE_CRASHED', without)).toMatchObject({ to: 'disconnected', reason: 'RECONNECT_OFF', restarts: false });
    expect(afterLoss('CONFLICT', without)).toMatchObject({ to: 'disconnected', reason: 'CONFLICT', restarts: false });
  });

  test('the attempt above the limit ends in an error; losses that are not counted never do', () => {
    const status = 'connecting';
    const atLimit = { ...allowed, status, count: { losses: 3, attempts: 3 } } as const;
    expect(afterLoss('PAGE_CRASHED', atLimit)).toEqual({
      to: 'error',
      reason: 'RECONNECT_EXHAUSTED',
      count: { losses: 4, attempts: 4 },
      restarts: false,
    });
    expect(afterLoss('DISK_FULL', { ...atLimit, count: { losses: 900, attempts: 0 } }).restarts).toBe(true);
  });

  test('the first restart comes at once, later ones after growing delays', () => {
    const delays = (reason: SessionReason) => [1, 2, 3, 4, 5, 20].map((losses) => restartDelayMs(losses, reason, () => 0.5));
    expect(delays('BROWSER_CRASHED')).toEqual([200, 5_000, 10_000, 20_000, 40_000, 300_000]);
    expect(delays('DISK_FULL')).toEqual([200, 5_000, 10_000, 20_000, 40_000, 60_000]);
  });

  test('a failed proxy is waited for in an error, unless autoReconnect is off, and is not counted as an attempt', () => {
    for (const reason of ['PROXY_UNREACHABLE', 'PROXY_AUTH_FAILED'] as const) {
      const waiting = { to: 'error', reason, count: { losses: 1, attempts: 0 }, restarts: true };
      expect(afterLoss(reason, { ...allowed, status: 'connected' })).toEqual(waiting);
      const without = { ...allowed, status: 'connected' as const, mayReconnect: false };
      expect(afterLoss(reason, without)).toEqual({ ...waiting, restarts: false });
    }
  });

  test('a proxy that refuses the login is checked less often than one that does not answer', () => {
    const delays = (reason: SessionReason) => [1, 2, 5, 20].map((checks) => proxyCheckDelayMs(checks, reason, () => 0.5));
    expect(delays('PROXY_UNREACHABLE')).toEqual([5_000, 10_000, 60_000, 60_000]);
    expect(delays('PROXY_AUTH_FAILED')).toEqual([60_000, 120_000, 600_000, 600_000]);
  });

  test('every reason has a recovery', () => {
    const known = ['restart', 'restart_uncounted', 'down', 'unlinked', 'proxy', 'error'];
    for (const reason of reasons) expect(known).toContain(recoveryFor(reason));
  });
});
