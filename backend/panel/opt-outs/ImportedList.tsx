import React from 'react';
import type { ImportResult } from '../../src/opt-outs/import.js';
import { count } from '../words.js';

/** How many faulty lines are shown. The number of the others is shown instead. */
const maxShown = 20;
/** The maximum number of faulty lines that the server reports. */
const maxReported = 1_000;

/** The result of an import: how many people were added, and the lines that name no person. */
const ImportedList: React.FC<{ result: ImportResult }> = ({ result: { added, known, invalid } }) => (
  <div className="cq-rows" aria-live="polite">
    <p className={invalid.length > 0 ? 'cq-note cq-warn' : 'cq-note cq-good'}>
      Added {count(added)}.{known > 0 && ` ${count(known)} ${known === 1 ? 'was' : 'were'} on the list already.`}
      {invalid.length > 0 && ` ${numberOf(invalid.length)} no person:`}
    </p>
    {invalid.length > 0 && (
      <ul className="cq-list cq-recipients">
        {invalid.slice(0, maxShown).map(({ row, input, message }) => (
          <li key={row}>
            <span>
              Row {row}: {input || 'empty'}
            </span>
            <small className="cq-why">{message}</small>
          </li>
        ))}
      </ul>
    )}
    {invalid.length > maxShown && <p className="cq-soft">and {count(invalid.length - maxShown)} more lines</p>}
  </div>
);
export default ImportedList;

function numberOf(lines: number): string {
  if (lines === 1) return '1 line names';
  return `${count(lines)} ${lines === maxReported ? 'or more lines' : 'lines'} name`;
}
