import React from 'react';
import { Icon } from '@adminjs/design-system';
import { Link, useLocation } from 'react-router-dom';
import { root } from '../api.js';
import Mark from './Mark.js';

const groups: { name: string; links: [string, string, string][] }[] = [
  {
    name: 'WhatsApp',
    links: [
      ['', 'Overview', 'Home'],
      ['/resources/sessions', 'Sessions', 'Smartphone'],
      ['/resources/messages', 'Messages', 'MessageSquare'],
      ['/resources/bulk', 'Bulk jobs', 'Layers'],
      ['/resources/templates', 'Templates', 'Edit3'],
      ['/resources/optouts', 'Opt-outs', 'UserX'],
      ['/pages/schedules', 'Schedules', 'Calendar'],
      ['/resources/webhooks', 'Webhooks', 'Send'],
      ['/pages/usage', 'Usage', 'BarChart2'],
    ],
  },
  {
    name: 'Access',
    links: [
      ['/resources/accounts', 'Accounts', 'Users'],
      ['/resources/plans', 'Plans', 'Sliders'],
      ['/resources/keys', 'API keys', 'Key'],
    ],
  },
  {
    name: 'System',
    links: [
      ['/pages/events', 'Events', 'Activity'],
      ['/pages/workers', 'Workers', 'Cpu'],
      ['/resources/audit', 'Audit log', 'FileText'],
      ['/resources/failures', 'Failures', 'AlertTriangle'],
    ],
  },
];

/** The navigation. On small screens it slides in over the page. */
const Sidebar: React.FC<{ isVisible: boolean }> = ({ isVisible }) => {
  const { pathname } = useLocation();
  const here = (path: string): boolean => (path === '' ? pathname.replace(/\/$/, '') === root : pathname.startsWith(root + path));
  return (
    <nav className={isVisible ? 'cq-sidebar cq-open' : 'cq-sidebar'} aria-label="Main">
      <Link className="cq-brand" to={root}>
        <Mark size={34} />
        <span>Chasqui</span>
      </Link>
      {groups.map((group) => (
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
  );
};
export default Sidebar;
