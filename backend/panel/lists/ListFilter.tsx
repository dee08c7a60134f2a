import React, { useEffect, useState } from 'react';
import type { ResourceJSON } from 'adminjs';
import { messageWord, sessionWord } from '../words.js';

/** The column that the search field of each table searches, and the column whose values can be chosen beside it. */
const main: Record<string, { search: string; hint: string; choice?: string }> = {
  sessions: { search: 'name', hint: 'Search by name', choice: 'status' },
  messages: { search: 'text', hint: 'Search in texts', choice: 'status' },
  accounts: { search: 'username', hint: 'Search by name', choice: 'role' },
  keys: { search: 'name', hint: 'Search by name' },
  audit: { search: 'action', hint: 'Search by action' },
};

const wordOf = (table: string, value: string): string =>
  table === 'sessions' ? sessionWord(value)[0] : table === 'messages' ? messageWord(value)[0] : value;

/** The two filters that are used most. The others are behind "More filters". */
const ListFilter: React.FC<{ resource: ResourceJSON; search: string; onChange: (search: string) => void }> = ({
  resource,
  search,
  onChange,
}) => {
  const by = main[resource.id];
  const params = new URLSearchParams(search);
  const present = by ? (params.get(`filters.${by.search}`) ?? '') : '';
  const [text, setText] = useState(present);
  useEffect(() => setText(present), [present]);
  if (!by) return null;
  const set = (name: string, value: string): void => {
    const next = new URLSearchParams(search);
    next.delete('page');
    if (value) next.set(`filters.${name}`, value);
    else next.delete(`filters.${name}`);
    onChange(next.toString());
  };
  const choices = resource.filterProperties.find((property) => property.name === by.choice)?.availableValues ?? [];
  const filtered = [...params.keys()].some((key) => key.startsWith('filters.'));
  return (
    <form
      className="cq-filter"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        set(by.search, text.trim());
      }}
    >
      <input
        type="search"
        value={text}
        placeholder={by.hint}
        aria-label={by.hint}
        onChange={(event) => setText(event.target.value)}
      />
      {by.choice && (
        <select
          aria-label={`Only with this ${by.choice}`}
          value={params.get(`filters.${by.choice}`) ?? ''}
          onChange={(event) => set(by.choice ?? '', event.target.value)}
        >
          <option value="">Any {by.choice}</option>
          {choices.map(({ value }) => (
            <option key={String(value)} value={String(value)}>
              {wordOf(resource.id, String(value))}
            </option>
          ))}
        </select>
      )}
      <button type="submit" className="cq-button">
        Search
      </button>
      {resource.id === 'messages' && present && <span>Only the newest 10,000 messages with this text are searched.</span>}
      {filtered && (
        <button type="button" className="cq-button cq-plain" onClick={() => onChange('')}>
          Clear
        </button>
      )}
    </form>
  );
};
export default ListFilter;
