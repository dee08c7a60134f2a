import type { BrandingOptions } from 'adminjs';
import type { Theme } from './guard.js';

type Palette = Record<string, string>;

const common: Palette = { white: '#ffffff', black: '#000000', love: '#0f766e' };

/** The colours of AdminJS's own components. Those of our pages are in `static/panel.css`; the two lists agree. */
const palettes: Record<'light' | 'dark', Palette> = {
  light: {
    ...common,
    border: '#dfe5e3',
    text: '#14211f',
    primary100: '#0f766e',
    primary80: '#2a8f86',
    primary60: '#6bb5ae',
    primary40: '#a9d5d0',
    primary20: '#dcefec',
    accent: '#0b4f4a',
    grey100: '#14211f',
    grey80: '#40504d',
    grey60: '#5c6c69',
    grey40: '#a8b5b2',
    grey20: '#eef2f1',
    errorDark: '#991b1b',
    error: '#b91c1c',
    errorLight: '#fde8e8',
    successDark: '#166534',
    success: '#15803d',
    successLight: '#dcfce7',
    warningDark: '#92400e',
    warning: '#b45309',
    warningLight: '#fef3c7',
    infoDark: '#1e40af',
    info: '#1d4ed8',
    infoLight: '#dbeafe',
    bg: '#f4f7f6',
    filterBg: '#ffffff',
    container: '#ffffff',
    sidebar: '#ffffff',
    inputBorder: '#b6c2bf',
    separator: '#dfe5e3',
    highlight: '#eef4f3',
  },
  dark: {
    ...common,
    white: '#1a2321',
    border: '#2b3735',
    text: '#e8efed',
    primary100: '#2dd4bf',
    primary80: '#5eead4',
    primary60: '#1f9c8e',
    primary40: '#19756b',
    primary20: '#143f3a',
    accent: '#5eead4',
    grey100: '#e8efed',
    grey80: '#c3cfcc',
    grey60: '#94a5a1',
    grey40: '#5c6d69',
    grey20: '#202b29',
    errorDark: '#fecaca',
    error: '#f87171',
    errorLight: '#431a1a',
    successDark: '#bbf7d0',
    success: '#4ade80',
    successLight: '#12331f',
    warningDark: '#fde68a',
    warning: '#fbbf24',
    warningLight: '#3d2c09',
    infoDark: '#bfdbfe',
    info: '#60a5fa',
    infoLight: '#172b4d',
    bg: '#0e1514',
    filterBg: '#151d1c',
    container: '#151d1c',
    sidebar: '#111918',
    inputBorder: '#465552',
    separator: '#2b3735',
    highlight: '#1c2725',
  },
};

/** Returns what AdminJS merges over its theme. Its type requires the whole theme; its code accepts any part of one. */
export function themeOverrides(chosen: Theme): NonNullable<BrandingOptions['theme']> {
  const theme = chosen === 'dark' ? 'dark' : 'light';
  const line = `1px solid ${palettes[theme]['border']}`;
  return {
    font: `'Inter Variable', system-ui, -apple-system, 'Segoe UI', sans-serif`,
    colors: palettes[theme],
    sizes: { sidebarWidth: '248px', navbarHeight: '60px' },
    borders: { default: line, input: `1px solid ${palettes[theme]['inputBorder']}`, filterInput: line, bg: line },
    shadows: { card: 'none', login: 'none', drawer: 'none', cardHover: 'none' },
  } as unknown as NonNullable<BrandingOptions['theme']>;
}
