/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageWindow } from './world.js';

export type PageFile =
  { stage: 'found'; path: string } | { stage: 'missing' } | { stage: 'expired' } | { stage: 'too_large'; size: number };

export type PageDownload =
  | { stage: 'ready'; token: string; size: number; mimetype: string | null; filename: string | null }
  | { stage: 'missing' }
  | { stage: 'expired' }
  | { stage: 'aborted' }
  | { stage: 'too_large'; size: number };

interface DownloadContext {
  win: PageWindow;
  core: PageCore;
  /** Downloaded files that wait to be fetched, by token. Each is discarded two minutes after its last use. */
  files: Map<string, { bytes: Uint8Array; timer: ReturnType<typeof setTimeout> }>;
  /** Running downloads, by token. */
  running: Map<string, AbortController>;
}

interface DownloadInput {
  whatsappId: string;
  maxBytes: number;
  deadlineMs: number;
  token: string;
}

/**
 * Downloads media files of messages. The declared size is checked before the download, and the real size before anything leaves the page;
 * during the download the worker counts bytes (see `../transfer-limit.ts`) and calls `downloadAbort`. The bytes leave the page in pieces: a
 * whole file as base64 would block the page for seconds and need three times its memory.
 */
function installDownload(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['download']) return;
  const context: DownloadContext = { win, core, files: new Map(), running: new Map() };
  core.calls['downloadFind'] = (input: { whatsappId: string; maxBytes: number }) => findFile(core, input);
  core.calls['download'] = (input: DownloadInput) => downloadFile(context, input);
  core.calls['downloadPiece'] = (input: { token: string; offset: number; length: number }) => pieceOf(context, input);
  core.calls['downloadAbort'] = ({ token }: { token: string }): boolean => {
    context.running.get(token)?.abort();
    return true;
  };
  core.calls['downloadEnd'] = ({ token }: { token: string }): boolean => {
    clearTimeout(context.files.get(token)?.timer);
    context.files.delete(token);
    return true;
  };
}

/** Returns the path of the file, unless there is none or its declared size is too large. */
async function findFile(core: PageCore, { whatsappId, maxBytes }: { whatsappId: string; maxBytes: number }): Promise<PageFile> {
  const msg = await core.findMessage(whatsappId);
  if (typeof msg?.directPath !== 'string' || msg.directPath === '' || !msg.mediaData) return { stage: 'missing' };
  const declared = Number(msg.size);
  if (declared > maxBytes) return { stage: 'too_large', size: declared };
  if (msg.mediaData.mediaStage === 'REUPLOADING') return { stage: 'expired' };
  return { stage: 'found', path: msg.directPath };
}

/** Downloads the file and stores it under `token`. Resolves at once when the download is aborted or its deadline has passed. */
async function downloadFile(context: DownloadContext, input: DownloadInput): Promise<PageDownload> {
  const { token } = input;
  const msg = await context.core.findMessage(input.whatsappId);
  if (!msg?.directPath || !msg.mediaData) return { stage: 'missing' };
  const abort = new AbortController();
  context.running.set(token, abort);
  const aborted = new Promise<PageDownload>((resolve) => {
    abort.signal.addEventListener('abort', () => resolve({ stage: 'aborted' }));
  });
  const timer = setTimeout(() => abort.abort(), input.deadlineMs);
  try {
    return await Promise.race([fetchFile(context, msg, input, abort.signal), aborted]);
  } catch (error: any) {
    if (error?.status === 404) return { stage: 'expired' };
    throw error;
  } finally {
    clearTimeout(timer);
    context.running.delete(token);
  }
}

async function fetchFile(
  context: DownloadContext,
  msg: any,
  { maxBytes, token }: DownloadInput,
  signal: AbortSignal,
): Promise<PageDownload> {
  if (msg.mediaData.mediaStage !== 'RESOLVED') await msg.downloadMedia({ downloadEvenIfExpensive: true, rmrReason: 1 });
  const stage = String(msg.mediaData.mediaStage);
  if (stage.includes('ERROR') || stage === 'FETCHING') return { stage: 'expired' };
  // `downloadMedia` accepts no signal, so it may have run to its end.
  if (signal.aborted) return { stage: 'aborted' };
  const bytes = await bytesOf(context.win, msg, signal);
  if (bytes.length > maxBytes) return { stage: 'too_large', size: bytes.length };
  if (signal.aborted) return { stage: 'aborted' };
  keepFile(context, token, bytes);
  return { stage: 'ready', token, size: bytes.length, mimetype: msg.mimetype ?? null, filename: msg.filename ?? null };
}

/** Makes the same call as whatsapp-web.js, through its view of the page, which has the patches for newer builds. */
async function bytesOf(win: PageWindow, msg: any, signal: AbortSignal): Promise<Uint8Array> {
  const qpl = {
    addAnnotations() {
      return this;
    },
    addPoint() {
      return this;
    },
  };
  const { directPath, encFilehash, filehash, mediaKey, mediaKeyTimestamp, type } = msg;
  const request = { directPath, encFilehash, filehash, mediaKey, mediaKeyTimestamp, type, signal, downloadQpl: qpl };
  const { downloadManager } = win.require('WAWebDownloadManager');
  return new Uint8Array(await downloadManager.downloadAndMaybeDecrypt(request));
}

/** Stores the file for two minutes from now. */
function keepFile({ files }: DownloadContext, token: string, bytes: Uint8Array): void {
  clearTimeout(files.get(token)?.timer);
  files.set(token, { bytes, timer: setTimeout(() => files.delete(token), 120_000) });
}

/** Returns one piece as base64; null when the file has been discarded. */
function pieceOf(context: DownloadContext, input: { token: string; offset: number; length: number }): string | null {
  const { token, offset, length } = input;
  const file = context.files.get(token);
  if (!file) return null;
  keepFile(context, token, file.bytes);
  const piece = file.bytes.subarray(offset, offset + length);
  let text = '';
  // More arguments than this do not fit on the stack.
  for (let at = 0; at < piece.length; at += 32_768) text += String.fromCharCode(...piece.subarray(at, at + 32_768));
  return btoa(text);
}

export const downloadScript = pageScript(installDownload, [findFile, downloadFile, fetchFile, bytesOf, keepFile, pieceOf]);
