import { createRequire } from 'node:module';
import type { Browser, Page } from 'puppeteer';

/**
 * whatsapp-web.js, the part of it that we use, with types of our own: its published ones are older than its code (they lack
 * `deviceName`, `requestPairingCode`'s result and the raw data of a message). One of the few files with casts.
 */

export interface LibraryClient {
  pupBrowser: Browser | null;
  pupPage: Page | null;
  initialize(): Promise<void>;
  destroy(): Promise<void>;
  initWebVersionCache(): Promise<void>;
  setDeviceName(deviceName?: string, browserName?: string): Promise<void>;
  requestPairingCode(phoneNumber: string, showNotification?: boolean, intervalMs?: number): Promise<string>;
  getMessageById(id: string): Promise<LibraryMessage | null>;
  getProfilePicUrl(id: string): Promise<string | undefined>;
  on(event: string, listener: (...args: never[]) => void): this;
}

export interface LibraryMessage {
  hasMedia: boolean;
  downloadMedia(): Promise<LibraryMedia | undefined>;
}

export interface LibraryMedia {
  mimetype: string;
  /** Base64. */
  data: string;
  filename?: string | null;
}

/** How the library asks where the login lives. `logout` would delete the folder under the running browser; we replace it. */
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

/** Loaded on first use: it pulls in puppeteer and ffmpeg's wrapper, about 150 ms. */
export const library = (): Library => load('whatsapp-web.js') as Library;
export const libraryUtil = (): LibraryUtil => load('whatsapp-web.js/src/util/Util.js') as LibraryUtil;

/** The browser that puppeteer has downloaded, where there is one. */
export function bundledBrowser(): string | null {
  const { executablePath } = load('puppeteer') as { executablePath: () => string };
  try {
    return executablePath();
  } catch {
    return null; // There is none.
  }
}
