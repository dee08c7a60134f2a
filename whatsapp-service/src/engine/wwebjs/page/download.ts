/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PageWindow } from './world.js';

export type PageDownload =
  | { stage: 'ready'; token: string; size: number; mimetype: string | null; filename: string | null }
  | { stage: 'missing' }
  | { stage: 'expired' }
  | { stage: 'too_large'; size: number };

/**
 * Files of messages. The declared size is checked before the page downloads anything, the true one before anything leaves the page. The
 * bytes leave in pieces: a whole file as base64 would block the page for seconds, and take its memory three times.
 */
export function installDownload(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['download']) return;

  const keptMs = 120_000;
  const files = new Map<string, { bytes: Uint8Array; timer: ReturnType<typeof setTimeout> }>();
  const forget = (token: string): void => {
    clearTimeout(files.get(token)?.timer);
    files.delete(token);
  };
  const keep = (token: string, bytes: Uint8Array): void => {
    clearTimeout(files.get(token)?.timer);
    files.set(token, { bytes, timer: setTimeout(() => files.delete(token), keptMs) });
  };

  const find = async (whatsappId: string): Promise<any> => {
    const { Msg } = core.module('WAWebCollections');
    const direct = Msg.get(whatsappId) ?? (await Msg.getMessagesById([whatsappId]))?.messages?.[0];
    if (direct) return direct;
    const key = whatsappId.split('_')[2];
    return Msg.getModelsArray().find((msg: any) => msg.id.id === key) ?? null;
  };

  /** As whatsapp-web.js asks for it; its view of the page has the patches for drifted builds. */
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
    const declared = Number(msg.size);
    if (declared > maxBytes) return { stage: 'too_large', size: declared };
    if (msg.mediaData.mediaStage === 'REUPLOADING') return { stage: 'expired' };
    if (msg.mediaData.mediaStage !== 'RESOLVED') await msg.downloadMedia({ downloadEvenIfExpensive: true, rmrReason: 1 });
    const stage = String(msg.mediaData.mediaStage);
    if (stage.includes('ERROR') || stage === 'FETCHING') return { stage: 'expired' };
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), deadlineMs);
    try {
      const bytes = await bytesOf(msg, abort.signal);
      if (bytes.length > maxBytes) return { stage: 'too_large', size: bytes.length };
      keep(token, bytes);
      return { stage: 'ready', token, size: bytes.length, mimetype: msg.mimetype ?? null, filename: msg.filename ?? null };
    } catch (error: any) {
      if (error?.status === 404) return { stage: 'expired' };
      throw error;
    } finally {
      clearTimeout(timer);
    }
  };

  /** Base64 of one piece; null when the file was forgotten meanwhile. */
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
