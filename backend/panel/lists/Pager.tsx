import React from 'react';
import { Link } from 'react-router-dom';
import { count } from '../words.js';

/** The server counts up to this number (`countLimit` in admin/resource.ts). */
export const countLimit = 10_000;

/** Says which rows are shown, and links to the page before and after. */
const Pager: React.FC<{ page: number; perPage: number; total: number; pathname: string; search: string }> = (props) => {
  const { page, perPage, total, pathname, search } = props;
  if (total === 0) return null;
  const to = (number: number): string => {
    const params = new URLSearchParams(search);
    params.set('page', String(number));
    return `${pathname}?${params.toString()}`;
  };
  const last = Math.ceil(total / perPage);
  return (
    <nav className="cq-pager" aria-label="Pages">
      <span>
        {count((page - 1) * perPage + 1)}–{count(Math.min(page * perPage, total))} of {count(total)}
        {total >= countLimit ? ' and more' : ''}
      </span>
      {page > 1 && (
        <Link className="cq-button" to={to(page - 1)}>
          Previous
        </Link>
      )}
      {page < last && (
        <Link className="cq-button" to={to(page + 1)}>
          Next
        </Link>
      )}
    </nav>
  );
};
export default Pager;
