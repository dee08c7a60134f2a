import React from 'react';
import { Link } from 'react-router-dom';
import { lastPlace } from '../lists/place.js';
import { usePageTitle } from '../title.js';

/** The top of a page: a link back, the title, the state, and the actions. The tab has the same title. */
const PageHead: React.FC<{
  title: React.ReactNode;
  back?: { to: string; label: string };
  below?: React.ReactNode;
  children?: React.ReactNode;
}> = ({ title, back, below, children }) => {
  usePageTitle(typeof title === 'string' ? title : (back?.label ?? ''), back?.label);
  return (
    <div className="cq-head">
      <div>
        {back && (
          <Link className="cq-back" to={lastPlace(back.to)}>
            ← {back.label}
          </Link>
        )}
        <h1>{title}</h1>
        {below && <div className="cq-below">{below}</div>}
      </div>
      {children && <div className="cq-actions">{children}</div>}
    </div>
  );
};
export default PageHead;
