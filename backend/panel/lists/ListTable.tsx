import React from 'react';
import { useTranslation, type RecordJSON, type ResourceJSON } from 'adminjs';
import { Link, useLocation } from 'react-router-dom';
import ListRow from './ListRow.js';

/** Which rows are selected, by their ids. */
export interface Selection {
  ids: readonly string[];
  onChange: (ids: readonly string[]) => void;
}

interface ListTableProps {
  resource: ResourceJSON;
  records: RecordJSON[];
  sortBy?: string | undefined;
  direction: 'asc' | 'desc';
  /** Absent: rows cannot be selected. */
  selection?: Selection | undefined;
}

/** The rows of a list under their column names. On a phone each row is a card, and a message two lines. */
const ListTable: React.FC<ListTableProps> = ({ resource, records, sortBy, direction, selection }) => {
  const { translateProperty } = useTranslation();
  const { pathname, search } = useLocation();
  const sortTo = (name: string): string => {
    const params = new URLSearchParams(search);
    params.set('sortBy', name);
    params.set('direction', sortBy === name && direction === 'asc' ? 'desc' : 'asc');
    return `${pathname}?${params.toString()}`;
  };
  const order = direction === 'asc' ? ('ascending' as const) : ('descending' as const);
  const isSelected = (id: string): boolean => selection?.ids.includes(id) ?? false;
  const toggle = (id: string): void =>
    selection?.onChange(isSelected(id) ? selection.ids.filter((one) => one !== id) : [...selection.ids, id]);
  const areAll = records.every(({ id }) => isSelected(id));
  return (
    <div className="cq-tablebox">
      <table className={`cq-table cq-of-${resource.id}`}>
        <thead>
          <tr>
            {selection && (
              <th scope="col" className="cq-as-select">
                <input
                  type="checkbox"
                  aria-label="Select all rows of this page"
                  checked={areAll}
                  onChange={() => selection.onChange(areAll ? [] : records.map(({ id }) => id))}
                />
              </th>
            )}
            {resource.listProperties.map(({ name, label, isSortable }) => {
              const isSortedBy = sortBy === name;
              const word = translateProperty(label, resource.id);
              return (
                <th key={name} scope="col" aria-sort={isSortedBy ? order : undefined}>
                  {isSortable ? (
                    <Link to={sortTo(name)}>{`${word}${isSortedBy ? (direction === 'asc' ? ' ↑' : ' ↓') : ''}`}</Link>
                  ) : (
                    word
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {records.map((record) => (
            <ListRow
              key={record.id}
              resource={resource}
              record={record}
              {...(selection ? { isSelected: isSelected(record.id), onToggle: () => toggle(record.id) } : {})}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
};
export default ListTable;
