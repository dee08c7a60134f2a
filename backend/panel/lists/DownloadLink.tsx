import React from 'react';
import { root } from '../api.js';
import { countLimit } from './Pager.js';

/** Downloads the rows of a list, with its filters and in its order, as a file for spreadsheets. */
const DownloadLink: React.FC<{ table: string; total: number; search: string }> = ({ table, total, search }) => (
  <p className="cq-download">
    <a className="cq-button cq-plain" href={`${root}/live/lists/${table}/csv${search}`} download>
      {total >= countLimit ? 'Download the first 10,000 as CSV' : 'Download as CSV'}
    </a>
  </p>
);
export default DownloadLink;
