import React from 'react';
import { Link } from 'react-router-dom';
import { count, type Tone } from '../words.js';

interface TileProps {
  label: string;
  value: number;
  of?: number;
  to: string;
  tone?: Tone;
  hint?: string;
}

/** One figure that links to its records. */
const Tile: React.FC<TileProps> = ({ label, value, of, to, tone, hint }) => (
  <Link className={tone ? `cq-tile cq-${tone}` : 'cq-tile'} to={to}>
    <span>{label}</span>
    <strong>
      {count(value)}
      {of !== undefined && <em> / {count(of)}</em>}
    </strong>
    {hint && <small>{hint}</small>}
  </Link>
);
export default Tile;
