import React from 'react';
import { useTranslation, type RecordJSON, type ResourceJSON } from 'adminjs';
import { Link, useLocation } from 'react-router-dom';
import ListRow from './ListRow.js';

interface ListTableProps {
  resource: ResourceJSON;
  records: RecordJSON[];
  sortBy?: string | undefined;
  direction: 'asc' | 'desc';
}

/** The rows of a list under their names. On a phone each row is a card. */
const ListTable: React.FC<ListTableProps> = ({ resource, records, sortBy, direction }) => {
  const { translateProperty } = useTranslation();
  const { pathname, search } = useLocation();
  const sortTo = (name: string): string => {
    const params = new URLSearchParams(search);
    params.set('sortBy', name);
    params.set('direction', sortBy === name && direction === 'asc' ? 'desc' : 'asc');
    return `${pathname}?${params.toString()}`;
  };
  const order = direction === 'asc' ? ('ascending' as const) : ('descending' as const);
  return (
    <div className="cq-tablebox">
      <table className="cq-table">
        <thead>
          <tr>
            {resource.listProperties.map(({ name, label, isSortable }) => {
              const isHere = sortBy === name;
              const word = translateProperty(label, resource.id);
              return (
                <th key={name} scope="col" aria-sort={isHere ? order : undefined}>
                  {isSortable ? (
                    <Link to={sortTo(name)}>{`${word}${isHere ? (direction === 'asc' ? ' ↑' : ' ↓') : ''}`}</Link>
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
            <ListRow key={record.id} resource={resource} record={record} />
          ))}
        </tbody>
      </table>
    </div>
  );
};
export default ListTable;
