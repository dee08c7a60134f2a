import React from 'react';
import { Link } from 'react-router-dom';
import type { Overview } from '../../src/admin/overview.js';
import { root } from '../api.js';
import Ago from '../parts/Ago.js';

/** The latest problems: messages that failed within a day, and sessions that need a person. */
const Problems: React.FC<{ errors: Overview['errors'] }> = ({ errors }) => {
  if (errors.length === 0) return <p className="cq-soft">Nothing went wrong in the last 24 hours.</p>;
  return (
    <ul className="cq-list">
      {errors.map((problem) => (
        <li key={`${problem.kind}${problem.id}`}>
          <Link to={`${root}/resources/${problem.kind}s/records/${problem.id}/show`}>{problem.title}</Link>
          <Ago at={problem.at} />
          <small>{problem.detail}</small>
        </li>
      ))}
    </ul>
  );
};
export default Problems;
