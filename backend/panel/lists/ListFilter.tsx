import React, { useEffect, useState } from 'react';
import type { ResourceJSON } from 'adminjs';
import FilterChips from './FilterChips.js';
import { filtersIn, valueWord, withFilter } from './filters.js';
import MoreFilters from './MoreFilters.js';

/** The column that the search field of each table searches, and the column whose values can be chosen beside it. */
const main: Record<string, { search: string; hint: string; choice?: string }> = {
  sessions: { search: 'name', hint: 'Search by name', choice: 'status' },
  messages: { search: 'text', hint: 'Text, name, number or id', choice: 'status' },
  bulk: { search: 'name', hint: 'Search by name', choice: 'status' },
  webhooks: { search: 'url', hint: 'Search by address' },
  templates: { search: 'name', hint: 'Search by name' },
  accounts: { search: 'username', hint: 'Search by name', choice: 'role' },
  keys: { search: 'name', hint: 'Search by name' },
  audit: { search: 'action', hint: 'Search by action' },
};

interface ListFilterProps {
  resource: ResourceJSON;
  search: string;
  onChange: (search: string) => void;
}

/** The filters of a list: the two that are used most, all others on demand, and what applies now. Each applies at once. */
const ListFilter: React.FC<ListFilterProps> = ({ resource, search, onChange }) => {
  const [isOpen, setOpen] = useState(false);
  const by = main[resource.id];
  const present = new Map(filtersIn(search));
  const searched = by ? (present.get(by.search) ?? '') : '';
  const [text, setText] = useState(searched);
  useEffect(() => setText(searched), [searched]);
  const set = (name: string, value: string): void => onChange(withFilter(search, name, value));
  const choices = resource.filterProperties.find((property) => property.name === by?.choice)?.availableValues ?? [];
  const except = [by?.search, by?.choice].filter((name) => name !== undefined);
  return (
    <>
      <form
        className="cq-filter"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          if (by) set(by.search, text.trim());
        }}
      >
        {by && (
          <input
            type="search"
            value={text}
            placeholder={by.hint}
            aria-label={by.hint}
            onChange={(event) => setText(event.target.value)}
          />
        )}
        {by?.choice && (
          <select
            aria-label={`Only with this ${by.choice}`}
            value={present.get(by.choice) ?? ''}
            onChange={(event) => set(by.choice ?? '', event.target.value)}
          >
            <option value="">Any {by.choice}</option>
            {choices.map(({ value }) => (
              <option key={String(value)} value={String(value)}>
                {valueWord(resource.id, by.choice ?? '', String(value))}
              </option>
            ))}
          </select>
        )}
        {by && (
          <button type="submit" className="cq-button">
            Search
          </button>
        )}
        <button type="button" className="cq-button cq-plain" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? 'Fewer filters' : 'More filters'}
        </button>
        {resource.id === 'messages' && searched && (
          <span>
            The newest messages are searched first. Up to 10,000 that match are shown, of the newest 50,000 with these letters.
          </span>
        )}
      </form>
      {isOpen && <MoreFilters {...{ resource, except, search, onChange }} onClose={() => setOpen(false)} />}
      <FilterChips resource={resource} search={search} onChange={onChange} />
    </>
  );
};
export default ListFilter;
