import React, { useEffect, useRef } from 'react';

export interface Pair {
  name: string;
  value: string;
}

interface PairRowsProps {
  /** What one row is, in lower case: its fields are called "Name of header 1" and "Value of header 1". */
  item: string;
  words: { name: string; value: string };
  placeholders: { name: string; value: string };
  maxLength: { name: number; value: number };
  rows: readonly Pair[];
  onChange: (rows: Pair[]) => void;
  /** Further buttons beside the one that adds a row. */
  children?: React.ReactNode;
}

/** Rows of a name and a value. A new row gets the focus; after a removal the row that takes its place has it, or the button that adds one. */
const PairRows: React.FC<PairRowsProps> = ({ item, words, placeholders, maxLength, rows, onChange, children }) => {
  const element = useRef<HTMLDivElement>(null);
  const wanted = useRef<string | null>(null);
  useEffect(() => {
    if (wanted.current === null) return;
    element.current?.querySelector<HTMLElement>(wanted.current)?.focus();
    wanted.current = null;
  });
  const set = (index: number, changes: Partial<Pair>): void =>
    onChange(rows.map((row, at) => (at === index ? { ...row, ...changes } : row)));
  const remove = (index: number): void => {
    const next = Math.min(index, rows.length - 2);
    wanted.current = next < 0 ? '[data-add]' : `[data-remove="${next}"]`;
    onChange(rows.filter((_, at) => at !== index));
  };
  const add = (): void => {
    wanted.current = `[data-name="${rows.length}"]`;
    onChange([...rows, { name: '', value: '' }]);
  };
  return (
    <div className="cq-stack" ref={element}>
      {rows.map((row, index) => (
        <div className="cq-line cq-header" key={index}>
          <input
            data-name={index}
            aria-label={`${words.name} of ${item} ${index + 1}`}
            placeholder={placeholders.name}
            maxLength={maxLength.name}
            autoComplete="off"
            value={row.name}
            onChange={(event) => set(index, { name: event.target.value })}
          />
          <input
            aria-label={`${words.value} of ${item} ${index + 1}`}
            placeholder={placeholders.value}
            maxLength={maxLength.value}
            autoComplete="off"
            value={row.value}
            onChange={(event) => set(index, { value: event.target.value })}
          />
          <button
            type="button"
            className="cq-button"
            data-remove={index}
            aria-label={`Remove ${item} ${index + 1}`}
            onClick={() => remove(index)}
          >
            Remove
          </button>
        </div>
      ))}
      <div className="cq-line">
        <button type="button" className="cq-button" data-add onClick={add}>
          Add a {item}
        </button>
        {children}
      </div>
    </div>
  );
};
export default PairRows;
