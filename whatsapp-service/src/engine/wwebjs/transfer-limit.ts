import type { CDPSession, Page } from 'puppeteer';

export interface TransferLimit {
  /** Resolves with the known size when a transfer exceeds the limit; otherwise never resolves. */
  exceeded: Promise<number>;
  /** The size with which `exceeded` resolved; null if it did not. */
  size(): number | null;
  /** Resolves when no transfer of the file is running. */
  idle(): Promise<void>;
  /** Stops everything that the page loads, for a page that does not end the download itself. Never rejects. */
  stopLoading(): Promise<void>;
  /** Removes the limit; transfers continue without it. Never rejects. */
  release(): Promise<void>;
}

/** The bytes that encryption adds to a file. */
const overheadBytes = 1_024;

/**
 * Limits how many bytes the page loads from `path`, a URL or its path. A response that announces more than `maxBytes` is refused before its first
 * byte reaches the page. A response without a length, or a compressed one, is counted as it arrives, and the caller ends it. Requests of web
 * workers in the page are not counted.
 */
export async function limitTransfer(page: Page, path: string, maxBytes: number): Promise<TransferLimit> {
  const [wanted = path] = path.split(/[?#]/);
  const transfers = new Map<string, number>();
  let waiting: (() => void)[] = [];
  let size: number | null = null;
  let exceed: (bytes: number) => void = () => undefined;
  const exceeded = new Promise<number>((resolve) => (exceed = resolve));
  const tooLarge = (bytes: number): void => {
    size ??= bytes;
    exceed(size);
  };
  const ended = ({ requestId }: { requestId: string }): void => {
    transfers.delete(requestId);
    if (transfers.size > 0) return;
    for (const resolve of waiting) resolve();
    waiting = [];
  };

  const session: CDPSession = await page.createCDPSession();
  session.on('Network.requestWillBeSent', ({ requestId, request }) => {
    if (request.url.includes(wanted)) transfers.set(requestId, 0);
  });
  session.on('Network.dataReceived', ({ requestId, dataLength }) => {
    const before = transfers.get(requestId);
    if (before === undefined) return;
    transfers.set(requestId, before + dataLength);
    if (before + dataLength > maxBytes + overheadBytes) tooLarge(before + dataLength);
  });
  session.on('Network.loadingFinished', ended);
  session.on('Network.loadingFailed', ended);
  session.on('Fetch.requestPaused', ({ requestId, responseHeaders = [] }) => {
    const announced = Math.max(
      0,
      ...responseHeaders.map(({ name, value }) => (/^content-length$/i.test(name) ? Number(value) : 0)),
    );
    const refused = announced > maxBytes + overheadBytes;
    if (refused) tooLarge(announced);
    const answer = refused
      ? session.send('Fetch.failRequest', { requestId, errorReason: 'BlockedByClient' })
      : session.send('Fetch.continueRequest', { requestId });
    answer.catch(() => undefined); // The request has ended, or the page is gone.
  });
  // With its defaults the browser would keep a copy of each file for this CDP session.
  await session.send('Network.enable', { maxTotalBufferSize: 0, maxResourceBufferSize: 0 });
  const urlPattern = `*${wanted.replaceAll(/[\\*?]/g, String.raw`\$&`)}*`;
  await session.send('Fetch.enable', { patterns: [{ urlPattern, requestStage: 'Response' }] });

  return {
    exceeded,
    size: () => size,
    idle: () => (transfers.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    stopLoading: () => session.send('Page.stopLoading').catch(() => undefined),
    release: () => session.detach().catch(() => undefined),
  };
}
