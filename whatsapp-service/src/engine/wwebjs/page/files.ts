/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageWindow } from './world.js';

interface FilesContext {
  win: PageWindow;
  /** Files that arrive or wait for their send, by token. Each is discarded ten minutes after its last piece. */
  files: Map<string, { parts: Blob[]; size: number; timer: ReturnType<typeof setTimeout> }>;
}

/**
 * Takes files in pieces. Each piece becomes a `Blob`, whose bytes the browser keeps outside of the page's memory and, if there are many, on its own
 * disk. The library gets the finished file in place of one that it would decode from base64.
 */
function installFiles(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || core.calls['filePiece']) return;
  const context: FilesContext = { win, files: new Map() };
  core.calls['filePiece'] = (input: { token: string; data: string }) => addPiece(context, input);
  core.calls['canPlay'] = ({ type }: { type: string }) => document.createElement('video').canPlayType(type) !== '';
  core.calls['fileDrop'] = ({ token }: { token: string }) => dropFile(context, token);
  core.injected('files', 'mediaInfoToFile', (original: any) => (info: any) => {
    if (typeof info?.chasquiFile !== 'string') return original(info);
    return fileOf(context, info);
  });
}

/** Returns the bytes that the page has of the file. */
function addPiece({ files }: FilesContext, { token, data }: { token: string; data: string }): number {
  const text = atob(data);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
  const known = files.get(token);
  clearTimeout(known?.timer);
  const parts = known?.parts ?? [];
  parts.push(new Blob([bytes]));
  const size = (known?.size ?? 0) + bytes.length;
  files.set(token, { parts, size, timer: setTimeout(() => files.delete(token), 600_000) });
  return size;
}

function dropFile({ files }: FilesContext, token: string): boolean {
  clearTimeout(files.get(token)?.timer);
  return files.delete(token);
}

/** Throws if the page was loaded again since the pieces came, or lacks one of them. */
function fileOf({ files }: FilesContext, info: { chasquiFile: string; size: number; mimetype: string; filename: string }): File {
  const found = files.get(info.chasquiFile);
  if (!found || found.size !== info.size) throw new Error('The page does not have all pieces of the file.');
  return new File(found.parts, info.filename, { type: info.mimetype, lastModified: Date.now() });
}

export const filesScript = pageScript(installFiles, [addPiece, dropFile, fileOf]);
