import React from 'react';
import { Icon } from '@adminjs/design-system';
import { Link, useLocation } from 'react-router-dom';
import { root } from '../api.js';
import Mark from './Mark.js';
import { pageGroups } from './pages.js';

/** The navigation. On small screens it slides in over the page. */
const Sidebar: React.FC<{ isVisible: boolean }> = ({ isVisible }) => {
  const { pathname } = useLocation();
  const here = (path: string): boolean => (path === '' ? pathname.replace(/\/$/, '') === root : pathname.startsWith(root + path));
  return (
    <>
      <a className="cq-skip" href="#content">
        Skip to the content
      </a>
      <nav className={isVisible ? 'cq-sidebar cq-open' : 'cq-sidebar'} aria-label="Main">
        <Link className="cq-brand" to={root}>
          <Mark size={34} />
          <span>Chasqui</span>
        </Link>
        {pageGroups.map((group) => (
          <div key={group.name}>
            <h2>{group.name}</h2>
            <ul>
              {group.links.map(([path, label, icon]) => (
                <li key={path}>
                  <Link to={root + path} aria-current={here(path) ? 'page' : undefined}>
                    <Icon icon={icon} size={18} />
                    {label}
                  </Link>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </nav>
    </>
  );
};
export default Sidebar;
