import React from 'react';
import { Link } from 'react-router-dom';
import { root } from '../api.js';
import { neighboursOf } from '../lists/place.js';

const list = `${root}/resources/messages`;

/** Leads to the messages before and after this one in the list that the person comes from, with its filters and order. */
const Neighbours: React.FC<{ id: string }> = ({ id }) => {
  const { previous, next } = neighboursOf(list, id);
  if (!previous && !next) return null;
  return (
    <nav className="cq-line cq-neighbours" aria-label="Messages of the list">
      {previous && <Link to={`${list}/records/${previous}/show`}>← Previous message</Link>}
      {next && <Link to={`${list}/records/${next}/show`}>Next message →</Link>}
    </nav>
  );
};
export default Neighbours;
