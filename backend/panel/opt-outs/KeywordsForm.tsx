import React from 'react';
import type { Keywords, KeywordSet } from '../../src/opt-outs/keywords.js';
import { post } from '../api.js';
import { useForm, useRecord } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import NoticeLine from '../parts/NoticeLine.js';

/** The keywords of an account as they are typed: words separated by commas. */
interface Typed {
  language: string;
  out: string;
  in: string;
  replyOut: string;
  replyIn: string;
}

const typedOf = (language: string, set: KeywordSet): Typed => ({
  language,
  out: set.out.join(', '),
  in: set.in.join(', '),
  replyOut: set.replyOut ?? '',
  replyIn: set.replyIn ?? '',
});
const wordsOf = (text: string): string[] =>
  text
    .split(',')
    .map((word) => word.trim())
    .filter(Boolean);
const setOf = (typed: Typed): KeywordSet => ({
  out: wordsOf(typed.out),
  in: wordsOf(typed.in),
  replyOut: typed.replyOut.trim() || null,
  replyIn: typed.replyIn.trim() || null,
});

/** The words with which people opt out of an account's messages and in again, and the answers. */
const KeywordsForm: React.FC<{ accountId: string }> = ({ accountId }) => {
  const path = `/live/accounts/${accountId}/keywords`;
  const { value: keywords, error, notice, notify } = useRecord<Keywords>(path, 600_000);
  if (!keywords) return <p className="cq-soft">{error ?? 'Reading …'}</p>;
  const sets = [typedOf('', keywords), ...Object.entries(keywords.languages).map(([name, set]) => typedOf(name, set))];
  return (
    <>
      <NoticeLine notice={notice} />
      <Editor
        key={JSON.stringify(keywords)}
        path={path}
        from={sets}
        onSaved={() => notify({ tone: 'good', text: 'Changed. It applies to the next message.' })}
      />
    </>
  );
};
export default KeywordsForm;

const fields: [keyof Typed, string, string][] = [
  ['out', 'Opt out', 'Words separated by commas'],
  ['in', 'Opt in again', 'Words separated by commas'],
  ['replyOut', 'Answer to opting out', 'Empty: none'],
  ['replyIn', 'Answer to opting in', 'Empty: none'],
];

const Editor: React.FC<{ path: string; from: Typed[]; onSaved: () => void }> = ({ path, from, onSaved }) => {
  const form = useForm({ sets: from }, async ({ sets: [main, ...others] }) => {
    const languages = Object.fromEntries(others.map((set) => [set.language.trim(), setOf(set)]));
    await post(path, { ...setOf(main!), languages });
    onSaved();
  });
  const { sets } = form.fields;
  const change = (index: number, changes: Partial<Typed>): void =>
    form.set({ sets: sets.map((set, at) => (at === index ? { ...set, ...changes } : set)) });
  return (
    <Form
      form={form}
      label="Save keywords"
      testId="keywords"
      hint={
        <button
          type="button"
          className="cq-button"
          onClick={() => form.set({ sets: [...sets, { language: '', out: '', in: '', replyOut: '', replyIn: '' }] })}
        >
          Add a language
        </button>
      }
    >
      {sets.map((set, index) => (
        <fieldset key={index} className="cq-form">
          <legend>{index === 0 ? 'All languages' : set.language || 'New language'}</legend>
          {index > 0 && (
            <div className="cq-line">
              <Field label="Language" name={`languages.${set.language.trim()}`} hint="Such as pt or pt-BR">
                <input
                  value={set.language}
                  onChange={(event) => change(index, { language: event.target.value })}
                  required
                  maxLength={35}
                />
              </Field>
              <button
                type="button"
                className="cq-button"
                onClick={() => form.set({ sets: sets.filter((_, at) => at !== index) })}
              >
                Remove
              </button>
            </div>
          )}
          {fields.map(([name, label, hint]) => (
            <Field key={name} label={label} hint={hint} name={index === 0 ? name : `languages.${set.language.trim()}.${name}`}>
              <input value={set[name]} onChange={(event) => change(index, { [name]: event.target.value })} maxLength={4096} />
            </Field>
          ))}
        </fieldset>
      ))}
    </Form>
  );
};
