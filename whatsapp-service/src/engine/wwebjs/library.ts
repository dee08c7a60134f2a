import { createRequire } from 'node:module';
import type { Browser, Page } from 'puppeteer';

/**
 * The part of whatsapp-web.js that the worker uses, with types of our own: the published types are older than the code (they lack `deviceName`
 * and the result of `requestPairingCode`). One of the few files with casts.
 */

export interface LibraryClient {
  pupBrowser: Browser | null;
  pupPage: Page | null;
  initialize(): Promise<void>;
  destroy(): Promise<void>;
  initWebVersionCache(): Promise<void>;
  setDeviceName(deviceName?: string, browserName?: string): Promise<void>;
  requestPairingCode(phoneNumber: string, showNotification?: boolean, intervalMs?: number): Promise<string>;
  on(event: string, listener: (...args: never[]) => void): this;
}

export interface LibraryMedia {
  mimetype: string;
  /** Base64. */
  data: string;
  filename?: string | null;
}

/** Sets the folder in which the library stores the login. `logout` would delete the folder while the browser runs, so it is replaced. */
export interface AuthStrategy {
  logout(): Promise<void>;
  beforeBrowserInitialized(): Promise<void>;
}

interface Library {
  Client: new (options: Record<string, unknown>) => LibraryClient;
  LocalAuth: new (options: { clientId: string; dataPath: string }) => AuthStrategy;
  version: string;
}

interface LibraryUtil {
  formatToWebpSticker(
    media: LibraryMedia,
    metadata: { name?: string | undefined; author?: string | undefined },
    page: Page,
  ): Promise<LibraryMedia>;
}

const load = createRequire(import.meta.url);

/** Loaded on first use, because it loads puppeteer and the ffmpeg wrapper (about 150 ms). */
export const library = (): Library => load('whatsapp-web.js') as Library;
export const libraryUtil = (): LibraryUtil => load('whatsapp-web.js/src/util/Util.js') as LibraryUtil;

/** The path of the browser that puppeteer has downloaded, or null. */
export function bundledBrowser(): string | null {
  const { executablePath } = load('puppeteer') as { executablePath: () => string };
  try {
    return executablePath();
  } catch {
    return null; // There is none.
  }
}
