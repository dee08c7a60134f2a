import React from 'react';
import { useTranslation, type ResourceJSON } from 'adminjs';
import type { ChoicesView } from '../../src/admin/views/choices.js';
import { usePoll } from '../api.js';
import { exactText } from '../words.js';
import { filtersIn, valueWord, withFilter } from './filters.js';

/** The filters that apply now, each with a button that removes it. */
const FilterChips: React.FC<{ resource: ResourceJSON; search: string; onChange: (search: string) => void }> = (props) => {
  const { resource, search, onChange } = props;
  const { translateProperty } = useTranslation();
  const { value: choices } = usePoll<ChoicesView>('/live/choices', 60_000);
  const filters = filtersIn(search);
  if (filters.length === 0) return null;
  const owners = new Map([...(choices?.accounts ?? []), ...(choices?.sessions ?? [])].map(({ id, name }) => [id, name]));
  const wordsOf = (name: string, value: string): string => {
    const [column = '', edge] = name.split('~~');
    const property = resource.filterProperties.find((one) => one.name === column);
    const label = property ? translateProperty(property.label, resource.id) : column;
    if (edge) return `${label} ${edge === 'from' ? 'from' : 'until'} ${exactText(Date.parse(value))}`;
    return `${label}: ${owners.get(value) ?? valueWord(resource.id, column, value)}`;
  };
  return (
    <ul className="cq-chips" aria-label="Filters">
      {filters.map(([name, value]) => (
        <li key={name}>
          {wordsOf(name, value)}
          <button
            type="button"
            aria-label={`Remove the filter ${wordsOf(name, value)}`}
            onClick={() => onChange(withFilter(search, name, ''))}
          >
            ×
          </button>
        </li>
      ))}
      <li>
        <button type="button" onClick={() => onChange('')}>
          Clear all
        </button>
      </li>
    </ul>
  );
};
export default FilterChips;
