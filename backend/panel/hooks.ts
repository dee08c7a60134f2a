import { useCallback, useState, type FormEvent } from 'react';
import { messageOf, PanelError, post, usePoll, type Polled } from './api.js';
import { useOnAlerts } from './status.js';
import type { Notice } from './parts/NoticeLine.js';

export interface LiveRecord<T> extends Omit<Polled<T>, 'reload'> {
  notice: Notice | null;
  /** Shows the outcome of a change, or nothing, and reads the record again. */
  notify: (notice: Notice | null) => void;
}

/** Reads the record of a page now and every `everyMs` milliseconds, with the outcome of the last change to it. */
export function useRecord<T>(path: string, everyMs: number): LiveRecord<T> {
  const { reload, ...read } = usePoll<T>(path, everyMs);
  useOnAlerts(reload);
  const [notice, setNotice] = useState<Notice | null>(null);
  const notify = useCallback(
    (next: Notice | null): void => {
      setNotice(next);
      reload();
    },
    [reload],
  );
  return { ...read, notice, notify };
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
  /** Does something else with the fields than submitting them. Its error is shown as that of a submission. Ignored while one runs. */
  run: (action: (fields: T) => Promise<void>) => void;
  /** For `<form onSubmit>`. A second submission while the first one runs is ignored. */
  onSubmit: (event: FormEvent) => void;
}

/** Holds the fields of a form and submits them. `problem` shows the error that `submit` throws. */
export function useForm<T>(initial: T, submit: (fields: T) => Promise<void>): Form<T> {
  const [fields, setFields] = useState(initial);
  const [problem, setProblem] = useState<string | null>(null);
  const [problems, setProblems] = useState<Readonly<Record<string, string>>>({});
  const [isBusy, setBusy] = useState(false);
  const run = (action: (fields: T) => Promise<void>): void => {
    if (isBusy) return;
    setBusy(true);
    setProblem(null);
    setProblems({});
    action(fields)
      .catch((error: unknown) => {
        setProblem(messageOf(error));
        setProblems(problemsOf(error));
      })
      .finally(() => setBusy(false));
  };
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    run(submit);
  };
  const set = (changes: Partial<T>): void => setFields((before) => ({ ...before, ...changes }));
  return { fields, set, problem, problems, isBusy, run, onSubmit };
}

/** The first sentence about each field. */
const problemsOf = (error: unknown): Record<string, string> =>
  error instanceof PanelError ? Object.fromEntries([...error.fields].reverse().map(({ path, message }) => [path, message])) : {};

/** Posts the fields of a form. `onDone` receives the answer. */
export const posting =
  <T, A>(path: string, onDone: (answer: A) => void) =>
  async (fields: T): Promise<void> =>
    onDone(await post<A>(path, fields));
