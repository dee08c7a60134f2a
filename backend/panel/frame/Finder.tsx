import React, { useEffect, useId, useRef, useState } from 'react';
import { useCurrentAdmin } from 'adminjs';
import { useNavigate } from 'react-router-dom';
import { root, viewerOf } from '../api.js';
import { useFind, type Result, type ResultGroup } from './find.js';

/**
 * Searches pages, sessions, messages, webhooks and accounts. The focus stays in the field: arrows choose a result, Enter opens it, Escape closes the
 * dialog, and the focus returns to where it was.
 */
const Finder: React.FC<{ onClose: () => void }> = ({ onClose }) => {
  const [admin] = useCurrentAdmin();
  const navigate = useNavigate();
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [chosen, setChosen] = useState(0);
  const { groups, isBusy, problem } = useFind(text.trim(), viewerOf(admin)?.role === 'admin');
  const results = groups.flatMap((group) => group.results);
  const index = Math.min(chosen, results.length - 1);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    dialog.current?.showModal();
    return () => void (opener instanceof HTMLElement && opener.focus());
  }, []);
  useEffect(() => {
    dialog.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' });
  }, [index, results.length]);
  const open = ({ to }: Result): void => {
    onClose();
    navigate(root + to);
  };
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const next = nextIndex(event.key, index, results.length);
    const result = results[index];
    if (next !== null) setChosen(next);
    else if (event.key === 'Enter' && result && !event.nativeEvent.isComposing) open(result);
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      ref={dialog}
      className="cq-dialog cq-finder"
      aria-label="Search"
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div>
        <input
          type="text"
          inputMode="search"
          role="combobox"
          aria-label="Search sessions, messages, webhooks, accounts and pages"
          aria-expanded={results.length > 0}
          aria-controls={`${id}-list`}
          aria-autocomplete="list"
          aria-activedescendant={results.length > 0 ? `${id}-${index}` : undefined}
          placeholder="A name, a number, an id, or words of a message"
          value={text}
          maxLength={200}
          autoComplete="off"
          spellCheck={false}
          autoFocus
          onChange={(event) => {
            setText(event.target.value);
            setChosen(0);
          }}
          onKeyDown={onKeyDown}
        />
        <Results {...{ id, groups, index }} onOpen={open} />
        <p className="cq-soft" role="status">
          {problem ?? (isBusy ? 'Searching …' : results.length === 0 ? 'Nothing found.' : `${results.length} results`)}
        </p>
      </div>
    </dialog>
  );
};
export default Finder;

/** The index that a key leads to. Null: the key chooses nothing. */
function nextIndex(key: string, index: number, length: number): number | null {
  if (length === 0) return null;
  if (key === 'ArrowDown') return (index + 1) % length;
  if (key === 'ArrowUp') return (index - 1 + length) % length;
  return null;
}

interface ResultsProps {
  id: string;
  groups: readonly ResultGroup[];
  index: number;
  onOpen: (result: Result) => void;
}

const Results: React.FC<ResultsProps> = ({ id, groups, index, onOpen }) => {
  const order = groups.flatMap(({ results }) => results);
  return (
    <div id={`${id}-list`} role="listbox" aria-label="Results" className="cq-results">
      {groups.map(({ name, results }) => (
        <div key={name} role="group" aria-label={name}>
          <h3 aria-hidden="true">{name}</h3>
          {results.map((result) => {
            const at = order.indexOf(result);
            return (
              <div key={result.to} id={`${id}-${at}`} role="option" aria-selected={at === index} onClick={() => onOpen(result)}>
                <b>{result.title}</b>
                {result.below && <small>{result.below}</small>}
              </div>
            );
          })}
        </div>
      ))}
    </div>
  );
};
