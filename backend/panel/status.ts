import { useEffect, useRef, useSyncExternalStore } from 'react';
import type { Status } from '../src/admin/overview.js';
import { get, messageOf, PanelError } from './api.js';
import { setTrouble } from './title.js';

/**
 * The state of the installation, which every page shows: one poll for the whole panel. The last known state stays when the server is silent, with
 * its age and the reason.
 */
export interface KnownStatus {
  /** Null until the first answer. */
  value: Status | null;
  /** When the last answer arrived. Milliseconds on this machine's clock. */
  receivedAt: number | null;
  /** Why there is no newer answer, and since when. */
  silence: { cause: 'backend' | 'database' | 'refused'; text: string; since: number } | null;
}

/**
 * Pauses between an answer and the next question: while the page is visible, and while it is not. Milliseconds. A worker counts as silent two
 * seconds after its heartbeat was due, and an answer may be a second old: with this pause a person sees it within ten seconds.
 */
const visibleMs = 1_500;
const hiddenMs = 10_000;

let known: KnownStatus = { value: null, receivedAt: null, silence: null };
const listeners = new Set<() => void>();

function set(next: KnownStatus): void {
  known = next;
  const isStale = next.silence !== null;
  // Colours of states that are not proven any more fade (panel.css).
  document.documentElement.toggleAttribute('data-stale', isStale);
  setTrouble({
    silent: isStale,
    offline: next.value?.offline ?? 0,
    worst: isStale ? 'bad' : (next.value?.alerts[0]?.severity ?? null),
    alerts: next.value?.alerts.length ?? 0,
  });
  for (const listener of listeners) listener();
}

const causeOf = (error: unknown): 'backend' | 'database' | 'refused' => {
  const code = error instanceof PanelError ? error.code : '';
  if (code === 'UNREACHABLE' || code === 'BACKEND_UNAVAILABLE') return 'backend';
  return ['DATABASE_UNAVAILABLE', 'STORAGE_FULL', 'STORAGE_UNAVAILABLE'].includes(code) ? 'database' : 'refused';
};

async function ask(): Promise<void> {
  try {
    set({ value: await get<Status>('/live/status'), receivedAt: Date.now(), silence: null });
  } catch (error) {
    const since = known.silence?.since ?? known.receivedAt ?? Date.now();
    set({ ...known, silence: { cause: causeOf(error), text: messageOf(error), since } });
  }
}

/** Asks now and again after each answer. Returns the function that ends it. */
function start(): () => void {
  let timer = 0;
  let isOver = false;
  const turn = async (): Promise<void> => {
    window.clearTimeout(timer);
    await ask();
    if (!isOver) timer = window.setTimeout(() => void turn(), document.hidden ? hiddenMs : visibleMs);
  };
  const onVisible = (): void => void (document.hidden || turn());
  document.addEventListener('visibilitychange', onVisible);
  void turn();
  return () => {
    isOver = true;
    window.clearTimeout(timer);
    document.removeEventListener('visibilitychange', onVisible);
  };
}

/** Keeps the state current while the component that calls this is shown: the bar at the top of every page. */
export const useStatusPoll = (): void => useEffect(start, []);

const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => void listeners.delete(listener);
};
export const useStatus = (): KnownStatus => useSyncExternalStore(subscribe, () => known);

/** Calls `run` when the alerts change, and when the server answers again: the page does not show for a while what the bar above it contradicts. */
export function useOnAlerts(run: () => unknown): void {
  const { value, silence } = useStatus();
  const isSilent = silence !== null;
  const alerts = value && JSON.stringify([isSilent, value.alerts.map(({ kind, severity, link }) => [kind, severity, link.to])]);
  const shown = useRef(alerts);
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    const isFirst = shown.current === null || shown.current === alerts;
    shown.current = alerts;
    if (!isFirst && !isSilent) latest.current();
  }, [alerts, isSilent]);
}
