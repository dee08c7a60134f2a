import { useCallback, useState, type FormEvent } from 'react';
import { messageOf, PanelError, post, usePoll } from './api.js';
import type { Notice } from './parts/NoticeLine.js';

export interface LiveRecord<T> {
  /** Null until the first answer. */
  value: T | null;
  /** Why the last read failed. The last value stays. */
  error: string | null;
  notice: Notice | null;
  /** Shows the outcome of a change, or nothing, and reads the record again. */
  notify: (notice: Notice | null) => void;
}

/** Reads the record of a page now and every `everyMs` milliseconds, with the outcome of the last change to it. */
export function useRecord<T>(path: string, everyMs: number): LiveRecord<T> {
  const { value, error, reload } = usePoll<T>(path, everyMs);
  const [notice, setNotice] = useState<Notice | null>(null);
  const notify = useCallback(
    (next: Notice | null): void => {
      setNotice(next);
      reload();
    },
    [reload],
  );
  return { value, error, notice, notify };
}

export interface Form<T> {
  fields: T;
  /** Changes some fields. */
  set: (changes: Partial<T>) => void;
  /** Why the last submission was refused. */
  problem: string | null;
  /** The sentences of that refusal that concern one field, by its path. */
  problems: Readonly<Record<string, string>>;
  isBusy: boolean;
  /** For `<form onSubmit>`. A second submission while the first one runs is ignored. */
  onSubmit: (event: FormEvent) => void;
}

/** Holds the fields of a form and submits them. `problem` shows the error that `submit` throws. */
export function useForm<T>(initial: T, submit: (fields: T) => Promise<void>): Form<T> {
  const [fields, setFields] = useState(initial);
  const [problem, setProblem] = useState<string | null>(null);
  const [problems, setProblems] = useState<Readonly<Record<string, string>>>({});
  const [isBusy, setBusy] = useState(false);
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    setProblem(null);
    setProblems({});
    submit(fields)
      .catch((error: unknown) => {
        setProblem(messageOf(error));
        setProblems(problemsOf(error));
      })
      .finally(() => setBusy(false));
  };
  return { fields, set: (changes) => setFields((before) => ({ ...before, ...changes })), problem, problems, isBusy, onSubmit };
}

/** The first sentence about each field. */
const problemsOf = (error: unknown): Record<string, string> =>
  error instanceof PanelError ? Object.fromEntries([...error.fields].reverse().map(({ path, message }) => [path, message])) : {};

/** Posts the fields of a form. `onDone` receives the answer. */
export const posting =
  <T, A>(path: string, onDone: (answer: A) => void) =>
  async (fields: T): Promise<void> =>
    onDone(await post<A>(path, fields));
