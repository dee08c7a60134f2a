import React from 'react';
import { useTranslation, type ResourceJSON } from 'adminjs';
import FilterField from './FilterField.js';
import { filtersIn, withFilter } from './filters.js';

interface MoreFiltersProps {
  resource: ResourceJSON;
  /** Columns whose filters are shown beside the search field. */
  except: readonly string[];
  search: string;
  onChange: (search: string) => void;
  onClose: () => void;
}

/** All other filters of a list. Escape closes them. */
const MoreFilters: React.FC<MoreFiltersProps> = ({ resource, except, search, onChange, onClose }) => {
  const { translateProperty } = useTranslation();
  const present = new Map(filtersIn(search));
  return (
    <div
      className="cq-more-filters"
      role="group"
      aria-label="More filters"
      onKeyDown={(event) => void (event.key === 'Escape' && onClose())}
    >
      {resource.filterProperties
        .filter(({ name }) => !except.includes(name))
        .map((property) => (
          <FilterField
            key={property.name}
            table={resource.id}
            property={property}
            label={translateProperty(property.label, resource.id)}
            valueOf={(name) => present.get(name) ?? ''}
            onChange={(name, value) => onChange(withFilter(search, name, value))}
          />
        ))}
    </div>
  );
};
export default MoreFilters;
