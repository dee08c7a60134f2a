import React, { useCallback, useEffect, useState } from 'react';
import { Icon } from '@adminjs/design-system';
import { useCurrentAdmin } from 'adminjs';
import { post, root, viewerOf } from '../api.js';
import { useStatusPoll } from '../status.js';
import AlertBanner from './AlertBanner.js';
import Finder from './Finder.js';
import Freshness from './Freshness.js';

const isDarkNow = (): boolean => {
  const theme = document.documentElement.dataset['theme'];
  return theme === 'dark' || (theme === 'auto' && window.matchMedia('(prefers-color-scheme: dark)').matches);
};

/** Opens the search with Ctrl+K, or ⌘K on a Mac, on every page. */
function useFinderKey(open: () => void): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.key.toLowerCase() !== 'k' || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
      event.preventDefault();
      // A dialog that is open asks for an answer first.
      if (!document.querySelector('dialog[open]')) open();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, [open]);
}

const finderKeys = /Mac|iPhone|iPad/.test(navigator.userAgent) ? '⌘K' : 'Ctrl K';

/** The bar with the menu, the age of the data, the search, the theme, the signed-in person and the logout; and below it what is wrong now. */
const TopBar: React.FC<{ toggleSidebar: () => void }> = ({ toggleSidebar }) => {
  const [admin] = useCurrentAdmin();
  const me = viewerOf(admin);
  useStatusPoll();
  const [isDark, setDark] = useState(isDarkNow);
  const other = isDark ? 'light' : 'dark';
  const [isFinding, setFinding] = useState(false);
  const find = useCallback(() => setFinding(true), []);
  useFinderKey(find);
  const swap = (): void => {
    document.documentElement.dataset['theme'] = other;
    setDark(!isDark);
    void post(`/theme?theme=${other}`).catch(() => undefined); // The next page has the theme of before.
  };
  return (
    <>
      <header className="cq-topbar">
        <button type="button" className="cq-icon cq-menu" aria-label="Menu" onClick={toggleSidebar}>
          <Icon icon="Menu" size={22} />
        </button>
        <Freshness />
        <span className="cq-grow" />
        <button
          type="button"
          className="cq-find"
          aria-label="Search"
          aria-haspopup="dialog"
          aria-keyshortcuts="Control+K Meta+K"
          onClick={find}
        >
          <Icon icon="Search" size={18} />
          <b>Search</b>
          <i data-keys={finderKeys} />
        </button>
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
      <AlertBanner />
      {isFinding && <Finder onClose={() => setFinding(false)} />}
    </>
  );
};
export default TopBar;
