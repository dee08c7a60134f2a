import React from 'react';
import { useLocation, useNavigate } from 'react-router-dom';

interface TabsProps {
  label: string;
  /** Key in the address, and title. The first one is shown without a key. */
  tabs: readonly (readonly [key: string, title: string])[];
  current: string;
}

/** The parts of a page. The address names the open one, so that it can be linked and survives a reload. */
const Tabs: React.FC<TabsProps> = ({ label, tabs, current }) => {
  const { pathname } = useLocation();
  const navigate = useNavigate();
  const [first] = tabs as [TabsProps['tabs'][number]];
  const open = (key: string): void => navigate(key === first[0] ? pathname : `${pathname}?tab=${key}`, { replace: true });
  const onKey = (event: React.KeyboardEvent<HTMLDivElement>): void => {
    const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
    if (step === 0) return;
    const at = tabs.findIndex(([key]) => key === current);
    const [key] = tabs[(at + step + tabs.length) % tabs.length] ?? first;
    open(key);
    event.currentTarget.querySelector<HTMLElement>(`[data-tab=${key}]`)?.focus();
  };
  return (
    <div className="cq-tabs" role="tablist" aria-label={label} onKeyDown={onKey}>
      {tabs.map(([key, title]) => (
        <button
          key={key}
          type="button"
          role="tab"
          data-tab={key}
          aria-selected={key === current}
          tabIndex={key === current ? 0 : -1}
          onClick={() => open(key)}
        >
          {title}
        </button>
      ))}
    </div>
  );
};
export default Tabs;

/** The key of the open tab. */
export function useTab(tabs: TabsProps['tabs']): string {
  const asked = new URLSearchParams(useLocation().search).get('tab');
  return tabs.find(([key]) => key === asked)?.[0] ?? tabs[0]?.[0] ?? '';
}
