import React from 'react';
import { Icon } from '@adminjs/design-system';
import { useCurrentAdmin } from 'adminjs';
import { post, root, viewerOf } from '../api.js';

/** The bar with the menu, the theme, the signed-in person and the logout. */
const TopBar: React.FC<{ toggleSidebar: () => void }> = ({ toggleSidebar }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  const other = me?.colours === 'dark' ? 'light' : 'dark';
  const swap = (): void => {
    void post(`/theme?theme=${other}`).then(() => window.location.reload());
  };
  return (
    <header className="cq-topbar">
      <button type="button" className="cq-icon cq-menu" aria-label="Menu" onClick={toggleSidebar}>
        <Icon icon="Menu" size={22} />
      </button>
      <span className="cq-grow" />
      <button
        type="button"
        className="cq-icon"
        title={`Use the ${other} theme`}
        aria-label={`Use the ${other} theme`}
        onClick={swap}
      >
        <Icon icon={other === 'dark' ? 'Moon' : 'Sun'} size={19} />
      </button>
      <a className="cq-me" href={`${root}/password`} title="Change your password">
        <b>{me?.username}</b>
        <small>{me?.role}</small>
      </a>
      <form method="post" action={`${root}/logout`}>
        <button type="submit" className="cq-icon" title="Sign out" aria-label="Sign out">
          <Icon icon="LogOut" size={19} />
        </button>
      </form>
    </header>
  );
};
export default TopBar;
