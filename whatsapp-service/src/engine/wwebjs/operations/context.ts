import type { Page } from 'puppeteer';
import type { Identities } from '../identities.js';
import type { LibraryClient } from '../library.js';

/** What an operation receives. */
export interface OperationContext {
  page: Page;
  client: LibraryClient;
  identities: Identities;
  deadlineMs: number;
}
