import { useCallback, useEffect, useRef, useState } from 'react';

/** A refusal by one of the panel's routes. */
export class PanelError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly fields: { path: string; message: string }[],
    /** Whether the same request may succeed a moment later: the server did not answer, or could not. */
    readonly isPassing = false,
  ) {
    super(message);
  }
}

/** Returns the error of a field that the browser refuses, as the server would. */
export const fieldError = (path: string, message: string): PanelError =>
  new PanelError('VALIDATION_FAILED', message, [{ path, message }]);

interface Answer<T> {
  data?: T;
  error?: { code: string; message: string; details?: { fields?: { path: string; message: string }[]; field?: string } };
}

export const root = '/admin';

/** How long a read and a change may take. A change may wait for WhatsApp. Milliseconds. */
const readTimeoutMs = 5_000;
const changeTimeoutMs = 30_000;

async function request<T>(path: string, timeoutMs: number, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    response = await fetch(root + path, { credentials: 'same-origin', redirect: 'error', signal, ...init });
  } catch {
    const isRead = timeoutMs === readTimeoutMs;
    throw new PanelError('UNREACHABLE', isRead ? 'The server does not answer. Trying again.' : unknownOutcome, [], true);
  }
  if (response.status === 401) {
    window.location.assign(`${root}/login`);
    throw new PanelError('UNAUTHENTICATED', 'You are signed out.', []);
  }
  const answer = (await response.json().catch(() => ({}))) as Answer<T>;
  if (response.ok) return answer.data as T;
  const { code = 'INTERNAL_ERROR', message = 'The request failed.', details } = answer.error ?? {};
  const field = details?.field ?? fieldOfCode[code];
  const fields = details?.fields ?? (field === undefined ? [] : [{ path: field, message }]);
  const text = fields.length > 0 ? fields.map((field) => field.message).join(' ') : message;
  throw new PanelError(code, text, fields, response.status >= 500 || response.status === 429);
}

/** The field that an error is about whose details name none. */
const fieldOfCode: Readonly<Record<string, string>> = {
  INVALID_RECIPIENT: 'recipient',
  RECIPIENT_NOT_SUPPORTED: 'recipient',
  SCHEDULE_IN_PAST: 'scheduledAt',
  URL_NOT_ALLOWED: 'url',
  UNKNOWN_EVENT_TYPE: 'events',
  UNKNOWN_PERMISSION: 'permissions',
  PLAN_NOT_FOUND: 'planId',
};

const unknownOutcome =
  'The server did not answer. It is unknown whether the change was made; look at this page again in a moment.';

export const get = <T>(path: string): Promise<T> => request<T>(path, readTimeoutMs, { headers: { accept: 'application/json' } });

/** Reads a record as AdminJS serves it. Null: there is none. Throws if the server does not answer, or cannot. */
export async function readRecord<T extends { baseError?: unknown }>(resource: string, id: string): Promise<T | null> {
  const path = `${root}/api/resources/${encodeURIComponent(resource)}/records/${encodeURIComponent(id)}/show`;
  const signal = AbortSignal.timeout(readTimeoutMs);
  const response = await fetch(path, { credentials: 'same-origin', redirect: 'manual', signal });
  // A person who is signed out is sent to the login.
  if (response.type === 'opaqueredirect') window.location.assign(`${root}/login`);
  if (response.status === 404) return null;
  if (!response.ok) throw new PanelError('INTERNAL_ERROR', 'The request failed.', [], true);
  const { record } = (await response.json()) as { record?: T | null };
  return record && !record.baseError ? record : null;
}

const withBody = (body: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', accept: 'application/json' },
  body: JSON.stringify(body),
});
export const post = <T = unknown>(path: string, body: unknown = {}): Promise<T> =>
  request<T>(path, changeTimeoutMs, withBody(body));

/** The delay between the last change and the request for a preview, and the one after a request without an answer. Milliseconds. */
const previewAfterMs = 300;
const previewAgainAfterMs = 3_000;

/**
 * Asks the server for a preview shortly after each change of `body`; null: of nothing. An error as `body` is shown in place of a preview. The last
 * answer stays until the next one. Without an answer it asks again, because a preview changes nothing.
 */
export function usePreview<T>(path: string, body: unknown): { value: T | null; problem: string | null } {
  const [value, setValue] = useState<T | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const own = body instanceof Error ? messageOf(body) : null;
  const text = body === null ? null : JSON.stringify(body);
  useEffect(() => {
    if (text === null) return undefined;
    let isCurrent = true;
    let timer = window.setTimeout(ask, previewAfterMs);
    function ask(): void {
      if (own !== null) return setProblem(own);
      request<T>(path, readTimeoutMs, withBody(JSON.parse(text!))).then(
        (answer) => {
          if (!isCurrent) return;
          setValue(answer);
          setProblem(null);
        },
        (error: unknown) => {
          if (!isCurrent) return;
          setProblem(messageOf(error));
          if (error instanceof PanelError && error.isPassing) timer = window.setTimeout(ask, previewAgainAfterMs);
        },
      );
    }
    return () => {
      isCurrent = false;
      window.clearTimeout(timer);
    };
  }, [path, text, own]);
  return { value, problem };
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : 'The request failed.');

export interface Polled<T> {
  value: T | null;
  /** Why the last read failed; null after a success. */
  error: string | null;
  /** When `value` arrived. Milliseconds on this machine's clock; null: not yet. */
  receivedAt: number | null;
  /** How often it is read. Null: once. */
  everyMs: number | null;
  reload: () => void;
}

/** Reads a route now and every `everyMs` milliseconds, while the page is visible; null: only now. When a read fails, the last value stays. */
export function usePoll<T>(path: string, everyMs: number | null): Polled<T> {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [receivedAt, setReceivedAt] = useState<number | null>(null);
  const current = useRef(path);
  const running = useRef(0);
  current.current = path;
  const reload = useCallback(() => {
    running.current += 1;
    get<T>(path)
      .then((answer) => {
        if (current.current !== path) return;
        setValue(answer);
        setReceivedAt(Date.now());
        setError(null);
      })
      .catch((problem: unknown) => {
        if (current.current === path) setError(messageOf(problem));
      })
      .finally(() => (running.current -= 1));
  }, [path]);
  useEffect(() => {
    setValue(null);
    setReceivedAt(null);
    reload();
  }, [reload]);
  useEffect(() => {
    if (everyMs === null) return undefined;
    const timer = window.setInterval(() => {
      // A server that hangs is not asked again before the last question has timed out.
      if (!document.hidden && running.current === 0) reload();
    }, everyMs);
    document.addEventListener('visibilitychange', reload);
    return () => {
      window.clearInterval(timer);
      document.removeEventListener('visibilitychange', reload);
    };
  }, [reload, everyMs]);
  return { value, error, receivedAt, everyMs, reload };
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
  colours: 'light' | 'dark' | 'auto';
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

/** The time zone of this browser, in which the panel shows times. */
export const browserZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
/** The same, as part of a query. */
export const zoneQuery = (): string => `timezone=${encodeURIComponent(browserZone())}`;

/** Returns the signed-in person from AdminJS's state. */
export const viewerOf = (admin: unknown): Viewer | null => admin as Viewer | null;
