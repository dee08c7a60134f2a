/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

export type PageFile =
  { stage: 'found'; path: string } | { stage: 'missing' } | { stage: 'expired' } | { stage: 'too_large'; size: number };

export type PageDownload =
  | { stage: 'ready'; token: string; size: number; mimetype: string | null; filename: string | null }
  | { stage: 'missing' }
  | { stage: 'expired' }
  | { stage: 'aborted' }
  | { stage: 'too_large'; size: number };

/**
 * Downloads media files of messages. The declared size is checked before the download, and the real size before anything leaves the page;
 * during the download the worker counts bytes (see `../transfer-limit.ts`) and calls `downloadAbort`. The bytes leave the page in pieces: a
 * whole file as base64 would block the page for seconds and need three times its memory.
 */
export function installDownload(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['download']) return;

  const retentionMs = 120_000;
  const files = new Map<string, { bytes: Uint8Array; timer: ReturnType<typeof setTimeout> }>();
  const downloads = new Map<string, AbortController>();
  const forget = (token: string): void => {
    clearTimeout(files.get(token)?.timer);
    files.delete(token);
  };
  const keep = (token: string, bytes: Uint8Array): void => {
    clearTimeout(files.get(token)?.timer);
    files.set(token, { bytes, timer: setTimeout(() => files.delete(token), retentionMs) });
  };

  const find = async (whatsappId: string): Promise<any> => {
    const { Msg } = core.module('WAWebCollections');
    const direct = Msg.get(whatsappId) ?? (await Msg.getMessagesById([whatsappId]))?.messages?.[0];
    if (direct) return direct;
    return Msg.getModelsArray().find((msg: any) => core.isNamedBy(whatsappId, msg)) ?? null;
  };

  /** The same call as in whatsapp-web.js, through its view of the page, which has the patches for newer builds. */
  const bytesOf = async (msg: any, signal: AbortSignal): Promise<Uint8Array> => {
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
  };

  /** Returns the path of the file, unless there is none or its declared size is too large. */
  core.calls['downloadFind'] = async ({ whatsappId, maxBytes }: { whatsappId: string; maxBytes: number }): Promise<PageFile> => {
    const msg = await find(whatsappId);
    if (typeof msg?.directPath !== 'string' || msg.directPath === '' || !msg.mediaData) return { stage: 'missing' };
    const declared = Number(msg.size);
    if (declared > maxBytes) return { stage: 'too_large', size: declared };
    if (msg.mediaData.mediaStage === 'REUPLOADING') return { stage: 'expired' };
    return { stage: 'found', path: msg.directPath };
  };

  const fetchFile = async (msg: any, maxBytes: number, token: string, signal: AbortSignal): Promise<PageDownload> => {
    if (msg.mediaData.mediaStage !== 'RESOLVED') await msg.downloadMedia({ downloadEvenIfExpensive: true, rmrReason: 1 });
    const stage = String(msg.mediaData.mediaStage);
    if (stage.includes('ERROR') || stage === 'FETCHING') return { stage: 'expired' };
    // `downloadMedia` accepts no signal, so it may have run to its end.
    if (signal.aborted) return { stage: 'aborted' };
    const bytes = await bytesOf(msg, signal);
    if (bytes.length > maxBytes) return { stage: 'too_large', size: bytes.length };
    if (signal.aborted) return { stage: 'aborted' };
    keep(token, bytes);
    return { stage: 'ready', token, size: bytes.length, mimetype: msg.mimetype ?? null, filename: msg.filename ?? null };
  };

  core.calls['download'] = async ({
    whatsappId,
    maxBytes,
    deadlineMs,
    token,
  }: {
    whatsappId: string;
    maxBytes: number;
    deadlineMs: number;
    token: string;
  }): Promise<PageDownload> => {
    const msg = await find(whatsappId);
    if (!msg?.directPath || !msg.mediaData) return { stage: 'missing' };
    const abort = new AbortController();
    downloads.set(token, abort);
    const aborted = new Promise<PageDownload>((resolve) => {
      abort.signal.addEventListener('abort', () => resolve({ stage: 'aborted' }));
    });
    const timer = setTimeout(() => abort.abort(), deadlineMs);
    try {
      return await Promise.race([fetchFile(msg, maxBytes, token, abort.signal), aborted]);
    } catch (error: any) {
      if (error?.status === 404) return { stage: 'expired' };
      throw error;
    } finally {
      clearTimeout(timer);
      downloads.delete(token);
    }
  };

  core.calls['downloadAbort'] = ({ token }: { token: string }): boolean => {
    downloads.get(token)?.abort();
    return true;
  };

  /** Returns one piece as base64; null when the file was discarded meanwhile. */
  core.calls['downloadPiece'] = ({ token, offset, length }: { token: string; offset: number; length: number }): string | null => {
    const file = files.get(token);
    if (!file) return null;
    keep(token, file.bytes);
    const piece = file.bytes.subarray(offset, offset + length);
    let text = '';
    // More arguments than this do not fit on the stack.
    for (let at = 0; at < piece.length; at += 32_768) text += String.fromCharCode(...piece.subarray(at, at + 32_768));
    return btoa(text);
  };

  core.calls['downloadEnd'] = ({ token }: { token: string }): boolean => {
    forget(token);
    return true;
  };
}
