import React from 'react';
import { useSelector } from 'react-redux';

const links: readonly [href: string, label: string][] = [
  ['/api/docs', 'API reference'],
  ['/docs', 'Guides'],
  ['/health', 'Health'],
];

/** Below every page: where help is, and the version. AdminJS finds it by this name. */
const Footer: React.FC = () => {
  const version = useSelector((state: { versions?: { app?: string } }) => state.versions?.app);
  return (
    <footer className="cq-footer">
      <nav aria-label="Help">
        {links.map(([href, label]) => (
          <a key={href} href={href}>
            {label}
          </a>
        ))}
      </nav>
      {version && <span>Chasqui {version}</span>}
    </footer>
  );
};
export default Footer;
