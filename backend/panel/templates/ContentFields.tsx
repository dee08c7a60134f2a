import React, { useState } from 'react';
import Field from '../parts/Field.js';

interface ContentFieldsProps {
  type: string;
  /** The text of a template of type text; JSON for every other type. */
  body: string;
  onChange: (body: string) => void;
}

interface ContentPart {
  name: string;
  label: string;
  hint?: string;
  /** `lines`: a list with one entry in each line. `flag`: a box to tick. */
  kind: 'line' | 'text' | 'lines' | 'flag';
  isRequired?: boolean;
}

const fileFields: ContentPart[] = [
  { name: 'mediaId', label: 'Id of an uploaded file', hint: 'POST /api/v1/media; this or an address', kind: 'line' },
  { name: 'mediaUrl', label: 'Address of the file', hint: 'may have variables', kind: 'line' },
];
const caption: ContentPart = { name: 'caption', label: 'Caption', kind: 'text' };

/** The fields of the common types. Every other type, and every field that is not here, is written as JSON. */
const fieldsOf: Record<string, ContentPart[]> = {
  image: [...fileFields, caption],
  video: [...fileFields, caption],
  document: [...fileFields, { name: 'filename', label: 'Name that the receiver sees', kind: 'line' }, caption],
  location: [
    { name: 'latitude', label: 'Latitude', kind: 'line', isRequired: true },
    { name: 'longitude', label: 'Longitude', kind: 'line', isRequired: true },
    { name: 'name', label: 'Name of the place', kind: 'line' },
    { name: 'address', label: 'Address', kind: 'line' },
  ],
  poll: [
    { name: 'question', label: 'Question', kind: 'line', isRequired: true },
    { name: 'options', label: 'Answers', hint: 'one in each line', kind: 'lines', isRequired: true },
    { name: 'multiple', label: 'More than one answer may be chosen', kind: 'flag' },
  ],
};

type Content = Record<string, unknown>;

/** Returns the content if the fields of its type can show all of it; null if they cannot, or if the type has no fields. */
function shownBy(fields: readonly ContentPart[] | undefined, body: string): Content | null {
  if (!fields) return null;
  try {
    const content: unknown = JSON.parse(body);
    if (typeof content !== 'object' || content === null || Array.isArray(content)) return null;
    const fits = ([name, value]: [string, unknown]): boolean => {
      const kind = fields.find((field) => field.name === name)?.kind;
      if (kind === 'lines') return Array.isArray(value) && value.every((line) => typeof line === 'string');
      if (kind === 'flag') return typeof value === 'boolean';
      return kind !== undefined && (typeof value === 'string' || typeof value === 'number');
    };
    return Object.entries(content).every(fits) ? (content as Content) : null;
  } catch {
    return null; // The typed text is not JSON. The field for JSON shows it unchanged.
  }
}

/** The content of a template: a text, the fields of a common type, or JSON. */
const ContentFields: React.FC<ContentFieldsProps> = ({ type, body, onChange }) => {
  const [isJson, setJson] = useState(false);
  const fields = fieldsOf[type];
  const content = type === 'text' || isJson ? null : shownBy(fields, body);
  const set = (name: string, value: unknown): void => {
    const next = { ...content, [name]: value };
    onChange(JSON.stringify(Object.fromEntries(Object.entries(next).filter(([, one]) => one !== '' && one !== false)), null, 2));
  };
  if (content && fields)
    return (
      <>
        {fields.map((field) => (
          <ContentField key={field.name} field={field} value={content[field.name]} onChange={(value) => set(field.name, value)} />
        ))}
        <button type="button" className="cq-button" onClick={() => setJson(true)}>
          Edit as JSON
        </button>
      </>
    );
  return (
    <>
      <Field label={type === 'text' ? 'Message' : 'Content, as JSON: the fields of the type’s own route'} name="content">
        <textarea
          rows={type === 'text' ? 8 : 12}
          value={body}
          onChange={(event) => onChange(event.target.value)}
          spellCheck={type === 'text'}
          required
        />
      </Field>
      {isJson && type !== 'text' && shownBy(fields, body) && (
        <button type="button" className="cq-button" onClick={() => setJson(false)}>
          Edit as a form
        </button>
      )}
    </>
  );
};
export default ContentFields;

const ContentField: React.FC<{ field: ContentPart; value: unknown; onChange: (value: unknown) => void }> = ({
  field: { name, label, hint, kind, isRequired = false },
  value,
  onChange,
}) => {
  if (kind === 'flag')
    return (
      <label className="cq-check">
        <input type="checkbox" name={name} checked={value === true} onChange={(event) => onChange(event.target.checked)} />
        {label}
      </label>
    );
  const text = kind === 'lines' ? ((value ?? []) as string[]).join('\n') : String(value ?? '');
  const change = (next: string): void => onChange(kind === 'lines' ? next.split('\n') : next);
  return (
    <Field label={label} hint={hint} name={`content.${name}`}>
      {kind === 'line' ? (
        <input
          name={name}
          value={text}
          onChange={(event) => change(event.target.value)}
          required={isRequired}
          autoComplete="off"
        />
      ) : (
        <textarea
          name={name}
          rows={kind === 'lines' ? 5 : 3}
          value={text}
          onChange={(event) => change(event.target.value)}
          required={isRequired}
        />
      )}
    </Field>
  );
};
