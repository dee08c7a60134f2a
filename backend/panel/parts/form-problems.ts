import { createContext, useContext, useEffect } from 'react';

/** Why the server refused the fields of a form. */
export interface FormProblems {
  /** The sentence about each field, by the field's path in the body. */
  problems: Readonly<Record<string, string>>;
  /** Says that a field of the form shows the problems of these paths. Returns a function that takes it back. */
  claim: (paths: readonly string[]) => () => void;
}

export const FormContext = createContext<FormProblems>({ problems: {}, claim: () => () => undefined });

/** Returns whether a problem with this path is about the field: about its value, or about a part of it, such as `events.2` of `events`. */
export const isAbout = (path: string, field: string): boolean => path === field || path.startsWith(`${field}.`);

/** Returns why the form around this field was refused, as far as the field is concerned. `names` are its paths in the body. */
export function useFieldProblem(names: string | readonly string[] = []): string | undefined {
  const { problems, claim } = useContext(FormContext);
  const key = [names].flat().join('\n');
  useEffect(() => claim(key.split('\n')), [claim, key]);
  const fields = key.split('\n');
  const sentences = Object.entries(problems).flatMap(([path, sentence]) =>
    fields.some((field) => field !== '' && isAbout(path, field)) ? [sentence] : [],
  );
  return sentences.length > 0 ? [...new Set(sentences)].join(' ') : undefined;
}
