import React, { useState } from 'react';
import type { TemplatePreview } from '../../src/admin/verbs.js';
import type { TemplateTypesView } from '../../src/admin/views/template.js';
import { fieldError, usePoll, usePreview } from '../api.js';
import { useForm } from '../hooks.js';
import Field from '../parts/Field.js';
import Form from '../parts/Form.js';
import Panel from '../frame/Panel.js';
import ContentFields from './ContentFields.js';

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
  /** Saves the template. Throws the error reply of the server. */
  save: (input: { name: string; type: string; content: object }) => Promise<void>;
  /** Fields above the name, such as the account. */
  children?: React.ReactNode;
}

/** Returns the content that was typed. Throws an error that the form shows at the field. */
function contentOf({ type, body }: TemplateFields): object {
  if (type === 'text') return { message: body };
  let content: unknown;
  try {
    content = JSON.parse(body);
  } catch {
    throw fieldError('content', 'The content is not valid JSON.');
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content))
    throw fieldError('content', 'The content is a JSON object.');
  const { options, ...rest } = content as { options?: unknown };
  if (type !== 'poll' || !Array.isArray(options)) return content;
  // A line that is still empty is not an answer.
  return { ...rest, options: options.filter((option) => option !== '') };
}

/** The form that creates or changes a template, and its preview with values for the variables. */
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
          <Field label="Name" name="name">
            <input value={fields.name} onChange={(event) => set({ name: event.target.value })} required maxLength={128} />
          </Field>
          <Field label="Type" name="type">
            <select value={fields.type} onChange={(event) => choose(event.target.value)}>
              {(types ?? [{ type: fields.type }]).map(({ type }) => (
                <option key={type}>{type}</option>
              ))}
            </select>
          </Field>
          <ContentFields key={fields.type} type={fields.type} body={fields.body} onChange={(body) => set({ body })} />
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

/** The preview of the template with values for its variables. The server fills it, shortly after each change. */
const Preview: React.FC<{ accountId: string; fields: TemplateFields }> = ({ accountId, fields: { type, body, name } }) => {
  const [values, setValues] = useState<Record<string, string>>({});
  const variables = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));
  const asked = (): unknown => {
    try {
      return { accountId, type, content: contentOf({ type, body, name }), variables };
    } catch (error) {
      return error;
    }
  };
  const { value: preview, problem } = usePreview<TemplatePreview>('/live/template-preview', accountId === '' ? null : asked());
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
