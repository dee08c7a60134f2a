import React, { useEffect, useState } from 'react';
import type { TemplatePreview } from '../../src/admin/verbs.js';
import type { TemplateTypesView } from '../../src/admin/views/template.js';
import { messageOf, post, usePoll } from '../api.js';
import { useForm } from '../hooks.js';
import Form from '../parts/Form.js';
import Panel from '../frame/Panel.js';

export interface TemplateFields {
  name: string;
  type: string;
  /** The text of a template of type text; JSON for every other type. */
  body: string;
}

interface TemplateFormProps {
  accountId: string;
  from: TemplateFields;
  label: string;
  /** Saves the template. Throws what the server answered. */
  save: (input: { name: string; type: string; content: object }) => Promise<void>;
  /** Fields above the name, such as the account. */
  children?: React.ReactNode;
}

/** Parses what was typed. Throws a sentence for a person. */
function contentOf({ type, body }: TemplateFields): object {
  if (type === 'text') return { message: body };
  let content: unknown;
  try {
    content = JSON.parse(body);
  } catch {
    throw new Error('The content is not valid JSON.');
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) throw new Error('The content is a JSON object.');
  return content;
}

/** The form that creates or changes a template, beside what it becomes with the values of its variables. */
const TemplateForm: React.FC<TemplateFormProps> = ({ accountId, from, label, save, children }) => {
  const { value: types } = usePoll<TemplateTypesView>('/live/template-types', 600_000);
  const form = useForm(from, (fields) => save({ name: fields.name, type: fields.type, content: contentOf(fields) }));
  const { fields, set } = form;
  const choose = (type: string): void => {
    const example = types?.find((one) => one.type === type)?.example ?? {};
    set({ type, body: type === 'text' ? 'Hello {{name|there}}' : JSON.stringify(example, null, 2) });
  };
  return (
    <div className="cq-columns">
      <Panel title="Template">
        <Form form={form} label={label}>
          {children}
          <label>
            Name
            <input value={fields.name} onChange={(event) => set({ name: event.target.value })} required maxLength={128} />
          </label>
          <label>
            Type
            <select value={fields.type} onChange={(event) => choose(event.target.value)}>
              {(types ?? [{ type: fields.type }]).map(({ type }) => (
                <option key={type}>{type}</option>
              ))}
            </select>
          </label>
          <label>
            {fields.type === 'text' ? 'Message' : 'Content, as JSON: the fields of the type’s own route'}
            <textarea
              rows={fields.type === 'text' ? 8 : 12}
              value={fields.body}
              onChange={(event) => set({ body: event.target.value })}
              spellCheck={fields.type === 'text'}
              required
            />
          </label>
          <p className="cq-soft">
            {
              '{{name}} is a variable, {{name|there}} has a default. Formats: {{amount|number}}, {{amount|currency:EUR}}, {{when|date}}, {{when|time}}, {{when|datetime}}.'
            }
          </p>
        </Form>
      </Panel>
      <Panel title="Preview">
        <Preview accountId={accountId} fields={fields} />
      </Panel>
    </div>
  );
};
export default TemplateForm;

const previewAfterMs = 300;

/** What the template becomes, asked of the server a moment after the last key. */
const Preview: React.FC<{ accountId: string; fields: TemplateFields }> = ({ accountId, fields: { type, body, name } }) => {
  const [values, setValues] = useState<Record<string, string>>({});
  const [preview, setPreview] = useState<TemplatePreview | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  useEffect(() => {
    if (!accountId) return undefined;
    let isCurrent = true;
    const timer = window.setTimeout(() => {
      const variables = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));
      const ask = async (): Promise<TemplatePreview> =>
        post<TemplatePreview>('/live/template-preview', { accountId, type, content: contentOf({ type, body, name }), variables });
      ask().then(
        (answer) => {
          if (!isCurrent) return;
          setPreview(answer);
          setProblem(null);
        },
        (error: unknown) => isCurrent && setProblem(messageOf(error)),
      );
    }, previewAfterMs);
    return () => {
      isCurrent = false;
      window.clearTimeout(timer);
    };
  }, [accountId, type, body, name, values]);
  return (
    <div className="cq-form" data-testid="preview">
      {(preview?.variables ?? []).map((variable) => (
        <label key={variable}>
          {variable}
          <input
            value={values[variable] ?? ''}
            onChange={(event) => setValues((before) => ({ ...before, [variable]: event.target.value }))}
          />
        </label>
      ))}
      <div aria-live="polite">
        {problem && <p className="cq-note cq-bad">{problem}</p>}
        {!problem && preview && preview.missing.length > 0 && (
          <p className="cq-note">Enter a value for {preview.missing.join(', ')}.</p>
        )}
        {!problem && preview?.missing.length === 0 && (
          <div className="cq-bubble cq-ours">
            {preview.text ? <p className="cq-text">{preview.text}</p> : <p className="cq-soft">A message of type {type}.</p>}
          </div>
        )}
      </div>
    </div>
  );
};
