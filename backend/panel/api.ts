import { useCallback, useEffect, useRef, useState } from 'react';

/** A refusal by one of the panel's routes. */
export class PanelError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly fields: { path: string; message: string }[],
  ) {
    super(message);
  }
}

interface Answer<T> {
  data?: T;
  error?: { code: string; message: string; details?: { fields?: { path: string; message: string }[] } };
}

export const root = '/admin';

async function request<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(root + path, { credentials: 'same-origin', redirect: 'error', ...init });
  } catch {
    throw new PanelError('UNREACHABLE', 'The server does not answer. Trying again.', []);
  }
  if (response.status === 401) {
    window.location.assign(`${root}/login`);
    throw new PanelError('UNAUTHENTICATED', 'You are signed out.', []);
  }
  const answer = (await response.json().catch(() => ({}))) as Answer<T>;
  if (response.ok) return answer.data as T;
  const { code = 'INTERNAL_ERROR', message = 'The request failed.', details } = answer.error ?? {};
  const fields = details?.fields ?? [];
  throw new PanelError(code, fields.length > 0 ? fields.map((field) => field.message).join(' ') : message, fields);
}

export const get = <T>(path: string): Promise<T> => request<T>(path, { headers: { accept: 'application/json' } });
export const post = <T = unknown>(path: string, body: unknown = {}): Promise<T> =>
  request<T>(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(body),
  });

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : 'The request failed.');

export interface Polled<T> {
  value: T | null;
  error: string | null;
  reload: () => void;
}

/** Reads a route now and every `everyMs` milliseconds, while the page is visible. When a read fails, the last value stays. */
export function usePoll<T>(path: string, everyMs: number): Polled<T> {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<string | null>(null);
  const current = useRef(path);
  current.current = path;
  const reload = useCallback(() => {
    get<T>(path)
      .then((answer) => {
        if (current.current !== path) return;
        setValue(answer);
        setError(null);
      })
      .catch((problem: unknown) => setError(messageOf(problem)));
  }, [path]);
  useEffect(() => {
    setValue(null);
    reload();
    const timer = window.setInterval(() => {
      if (!document.hidden) reload();
    }, everyMs);
    document.addEventListener('visibilitychange', reload);
    return () => {
      window.clearInterval(timer);
      document.removeEventListener('visibilitychange', reload);
    };
  }, [reload, everyMs]);
  return { value, error, reload };
}

/** Returns the current time, renewed every `everyMs` milliseconds. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
  return now;
}

export interface Viewer {
  id: string;
  username: string;
  email: string;
  role: 'staff' | 'admin';
  colours: 'light' | 'dark';
}

/** Calls `run` every `everyMs` milliseconds while the page is visible. Null: never. */
export function useRenewal(run: () => unknown, everyMs: number | null): void {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    if (everyMs === null) return undefined;
    const timer = window.setInterval(() => {
      if (!document.hidden) latest.current();
    }, everyMs);
    return () => window.clearInterval(timer);
  }, [everyMs]);
}

/** Returns the signed-in person from AdminJS's state. */
export const viewerOf = (admin: unknown): Viewer | null => admin as Viewer | null;
