import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { AppError } from '@chasqui/shared';
import { headOf, type FileBytes, type Spool } from '../lib/file-bytes.js';

/**
 * Conversions of files with ffmpeg, where the machine has it: sound to voice notes, moving pictures to stickers, and GIF to film. WhatsApp plays a voice
 * note on every phone only when it is Opus in an Ogg container, shows a moving sticker only as WebP, and shows a GIF only as a film without sound.
 */

/** What a file becomes: Ogg/Opus, WebP of 512 × 512 points, or MP4. */
export type Target = 'voice' | 'sticker' | 'film';
/** `reason`: why the file was not converted, as a sentence. */
export type Converted = { bytes: FileBytes } | { reason: string };
/** The file passes through ffmpeg in pieces. `mayUseDisk`: false for content that may lie on the disk only sealed. The caller drops the result. */
export type Convert = (target: Target, bytes: FileBytes, mimetype: string, mayUseDisk: boolean) => Promise<Converted>;

interface TargetSpec {
  /** The arguments of ffmpeg for the output. The later ones make smaller files, for outputs above the limit. */
  writing: readonly (readonly string[])[];
  /** The largest output that WhatsApp shows. Null: the limit of all files. */
  maxBytes: number | null;
  /** ffmpeg writes this output only into a file, because it fills in the beginning at the end. */
  isSeekable: boolean;
  /** Decides by the first `headBytes` of the output. */
  isResult(head: Buffer): boolean;
  notFound: string;
}

/** The part of a file that shows whether it is Ogg/Opus, WebP or MP4. */
export const headBytes = 512;

/** Ogg starts with `OggS`; the first page of an Opus stream contains `OpusHead` (RFC 7845, section 5.1). */
export const isOggOpus = (bytes: Buffer): boolean =>
  bytes.subarray(0, 4).equals(Buffer.from('OggS')) && bytes.subarray(0, 512).includes('OpusHead');

/**
 * ffmpeg's reader for each type. Always named: left to itself, ffmpeg would also read playlists, which name other files and addresses.
 * https://ffmpeg.org/ffmpeg-formats.html#Demuxers
 */
const demuxers: ReadonlyMap<string, string> = new Map([
  ['audio/mpeg', 'mp3'],
  ['audio/wav', 'wav'],
  ['audio/vnd.wave', 'wav'],
  ['audio/x-wav', 'wav'],
  ['audio/aac', 'aac'],
  ['audio/aiff', 'aiff'],
  ['audio/amr', 'amr'],
  ['audio/flac', 'flac'],
  ['audio/x-flac', 'flac'],
  ['audio/ogg', 'ogg'],
  ['video/ogg', 'ogg'],
  ['audio/mp4', 'mov'],
  ['audio/x-m4a', 'mov'],
  ['video/mp4', 'mov'],
  ['video/quicktime', 'mov'],
  ['video/3gpp', 'mov'],
  ['audio/webm', 'matroska'],
  ['video/webm', 'matroska'],
  ['video/x-matroska', 'matroska'],
  ['video/matroska', 'matroska'],
  ['image/gif', 'gif'],
  ['image/apng', 'apng'],
]);

const sticker = (quality: number, fps: number): string[] => [
  ...['-map', '0:v:0', '-map_metadata', '-1', '-an', '-t', '6', '-vf'],
  `fps=${fps},scale=512:512:force_original_aspect_ratio=decrease,format=rgba,pad=512:512:(ow-iw)/2:(oh-ih)/2:color=0x00000000`,
  ...['-c:v', 'libwebp_anim', '-loop', '0', '-quality', String(quality), '-threads', '1', '-f', 'webp'],
];

const targets: { readonly [T in Target]: TargetSpec } = {
  voice: {
    writing: [
      [
        ...['-map', '0:a:0', '-map_metadata', '-1', '-ac', '1', '-ar', '48000', '-c:a', 'libopus', '-b:a', '32k'],
        ...['-application', 'voip', '-threads', '1', '-f', 'ogg'],
      ],
    ],
    maxBytes: null,
    isSeekable: false,
    isResult: isOggOpus,
    notFound: 'ffmpeg found no sound in the file that it can convert.',
  },
  sticker: {
    writing: [sticker(60, 12), sticker(25, 8)],
    maxBytes: 500_000,
    isSeekable: false,
    isResult: (bytes) => bytes.toString('latin1', 8, 12) === 'WEBP',
    notFound: 'ffmpeg found no picture in the file that it can convert.',
  },
  film: {
    writing: [
      [
        ...['-map', '0:v:0', '-map_metadata', '-1', '-an', '-vf', 'scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p'],
        ...['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '26', '-threads', '1', '-movflags', '+faststart', '-f', 'mp4'],
      ],
    ],
    maxBytes: null,
    isSeekable: true,
    isResult: (bytes) => bytes.toString('latin1', 4, 8) === 'ftyp',
    notFound: 'ffmpeg found no picture in the file that it can convert.',
  },
};

const maxRunning = 2;
const timeoutMs = 30_000;

/**
 * Creates the converter. `ffmpeg`: the program, by name or path. At most two conversions run at once, each for 30 s and with an output of at
 * most `maxBytes`; others wait. `spool` takes the output as it comes.
 */
export function createConverter({ ffmpeg, maxBytes, spool }: { ffmpeg: string; maxBytes: number; spool: Spool }): Convert {
  let running = 0;
  const waiting: (() => void)[] = [];

  return async (target, bytes, mimetype, mayUseDisk) => {
    const demuxer = demuxers.get(mimetype);
    if (!demuxer) return { reason: `A file of type ${mimetype} cannot be converted.` };
    const spec = targets[target];
    if (spec.isSeekable && !mayUseDisk)
      return { reason: 'The conversion needs a temporary file, which the storage mode metadata does not allow.' };
    // A place that becomes free is handed to the first that waits.
    if (running >= maxRunning) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await convert(ffmpeg, { demuxer, bytes }, spec, {
        mayUseDisk,
        maxBytes: Math.min(maxBytes, spec.maxBytes ?? maxBytes),
        spool,
      });
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}

interface Input {
  demuxer: string;
  bytes: FileBytes;
}

async function convert(
  ffmpeg: string,
  { demuxer, bytes }: Input,
  spec: TargetSpec,
  { mayUseDisk, maxBytes, spool }: { mayUseDisk: boolean; maxBytes: number; spool: Spool },
): Promise<Converted> {
  const attempt = async (folder: string | null): Promise<Converted> => {
    // The index of an MP4 may lie at its end, so it has to be a file that ffmpeg can seek in. Everything else goes through a pipe.
    const input = folder !== null && demuxer === 'mov' ? join(folder, 'in') : null;
    if (input !== null) await writeFile(input, bytes.stream(), { mode: 0o600 });
    const output = folder !== null && spec.isSeekable ? join(folder, 'out') : null;
    let converted: Converted = { reason: spec.notFound };
    for (const writing of spec.writing) {
      const args = [...reading(demuxer, input ?? 'pipe:0'), ...writing, '-y', output ?? 'pipe:1'];
      converted = await run(ffmpeg, args, { input: input === null ? bytes : null, output, maxBytes, spec, spool });
      if ('bytes' in converted || converted.reason !== tooLarge) break;
    }
    return converted;
  };
  if (!mayUseDisk || (demuxer !== 'mov' && !spec.isSeekable)) return attempt(null);
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-convert-'));
  try {
    return await attempt(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const tooLarge = 'The converted file would be too large.';

const reading = (demuxer: string, input: string): string[] => [
  // Without this flag, a film without a picture would be a result.
  ...['-hide_banner', '-loglevel', 'quiet', '-abort_on', 'empty_output', '-protocol_whitelist', 'file,pipe'],
  ...['-f', demuxer, '-i', input],
];

interface Run {
  /** For the standard input. */
  input: FileBytes | null;
  /** The file that ffmpeg writes. Null: its standard output. */
  output: string | null;
  maxBytes: number;
  spec: TargetSpec;
  spool: Spool;
}

/** Runs ffmpeg. It writes nothing but the result, because its messages contain names of files. */
async function run(program: string, args: readonly string[], { input, output, maxBytes, spec, spool }: Run): Promise<Converted> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], timeout: timeoutMs, killSignal: 'SIGKILL' });
  const ended = new Promise<Ended>((resolve) => {
    child.once('error', () => resolve({ isMissing: true, code: null, signal: null }));
    child.once('close', (code, signal) => resolve({ isMissing: false, code, signal }));
  });
  // It may end before it has read everything. How it ended decides.
  const fed = pipeline(input?.stream() ?? [], child.stdin).catch(() => undefined);
  if (output !== null) child.stdout.resume();
  let written = output === null ? await spoolUpTo(spool, child.stdout, maxBytes) : null;
  if (written === tooLarge) child.kill('SIGKILL');
  const { isMissing, code, signal } = await ended;
  await fed;
  if (isMissing) return { reason: 'ffmpeg was not found. Install it beside the backend, or set FFMPEG_PATH.' };
  if (output !== null && code === 0) written = await spoolUpTo(spool, createReadStream(output), maxBytes);
  if (written === tooLarge) return { reason: tooLarge };
  if (written !== null && code === 0 && spec.isResult(await headOf(written, headBytes))) return { bytes: written };
  written?.drop();
  return { reason: signal ? 'ffmpeg took too long.' : spec.notFound };
}

interface Ended {
  isMissing: boolean;
  code: number | null;
  signal: NodeJS.Signals | null;
}

async function spoolUpTo(spool: Spool, source: Readable, maxBytes: number): Promise<FileBytes | typeof tooLarge> {
  try {
    return await spool(source, maxBytes);
  } catch (error) {
    if (error instanceof AppError && error.code === 'FILE_TOO_LARGE') return tooLarge;
    throw error;
  }
}
