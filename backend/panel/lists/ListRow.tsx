import React from 'react';
import { useTranslation, type RecordJSON, type ResourceJSON } from 'adminjs';
import { Link, useNavigate } from 'react-router-dom';
import { root } from '../api.js';
import Cell from './Cell.js';

interface ListRowProps {
  resource: ResourceJSON;
  record: RecordJSON;
  isSelected?: boolean;
  /** Absent: the row cannot be selected. */
  onToggle?: () => void;
}

/** One row. Its first cell is a link, for the keyboard and for new tabs. A click anywhere else on the row opens the same page. */
const ListRow: React.FC<ListRowProps> = ({ resource, record, isSelected = false, onToggle }) => {
  const navigate = useNavigate();
  const { translateProperty } = useTranslation();
  const to = `${root}/resources/${resource.id}/records/${encodeURIComponent(record.id)}/show`;
  const row = record.params as Record<string, unknown>;
  const spoken = String(row['chatTitle'] ?? row['chatNumber'] ?? record.id);
  return (
    <tr
      onClick={(event) => {
        if (!(event.target as HTMLElement).closest('a, label') && !window.getSelection()?.toString()) navigate(to);
      }}
    >
      {onToggle && (
        <td className="cq-as-select">
          <label>
            <input type="checkbox" checked={isSelected} onChange={onToggle} aria-label={`Select the message of ${spoken}`} />
          </label>
        </td>
      )}
      {resource.listProperties.map((property, index) => {
        const look = String((property.custom as { look?: string }).look ?? 'text');
        const cell = <Cell look={look} name={property.name} row={row} />;
        return (
          <td key={property.name} data-label={translateProperty(property.label, resource.id)} className={`cq-as-${look}`}>
            {index === 0 ? <Link to={to}>{cell}</Link> : cell}
          </td>
        );
      })}
    </tr>
  );
};
export default ListRow;
