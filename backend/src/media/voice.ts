import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Converts voice notes. Every phone can play a voice note only if it is Opus in an Ogg container, so other audio is converted with ffmpeg, if the
 * machine has it.
 */

/** `bytes`: Ogg/Opus. `reason`: why the file was not converted, as a sentence. */
export type Converted = { bytes: Buffer } | { reason: string };
/** `mayUseDisk`: false for content that may be on the disk only in sealed form. */
export type ConvertVoice = (bytes: Buffer, mimetype: string, mayUseDisk: boolean) => Promise<Converted>;

interface Limits {
  mayUseDisk: boolean;
  maxBytes: number;
}

/** Ogg starts with `OggS`; the first page of an Opus stream contains `OpusHead` (RFC 7845, section 5.1). */
export const isOggOpus = (bytes: Buffer): boolean =>
  bytes.subarray(0, 4).equals(Buffer.from('OggS')) && bytes.subarray(0, 512).includes('OpusHead');

/**
 * ffmpeg's demuxer for each type. It is always named: otherwise ffmpeg would also read playlists, which name other files and addresses.
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
]);

const maxRunning = 2;
const timeoutMs = 30_000;

/**
 * Creates the converter. `ffmpeg`: the program, by name or path. At most two conversions run at once, each for 30 s and with an output of at
 * most `maxBytes`; others wait.
 */
export function createVoiceConverter({ ffmpeg, maxBytes }: { ffmpeg: string; maxBytes: number }): ConvertVoice {
  let running = 0;
  const waiting: (() => void)[] = [];

  return async (bytes, mimetype, mayUseDisk) => {
    const demuxer = demuxers.get(mimetype);
    if (!demuxer) return { reason: `Sound of type ${mimetype} cannot be converted.` };
    // A conversion that ends lets the first waiting one begin.
    if (running >= maxRunning) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await convert(ffmpeg, demuxer, bytes, { mayUseDisk, maxBytes });
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}

async function convert(ffmpeg: string, demuxer: string, bytes: Buffer, limits: Limits): Promise<Converted> {
  // The index of an MP4 may be at its end, so ffmpeg needs a file in which it can seek. Everything else stays in memory.
  if (demuxer !== 'mov' || !limits.mayUseDisk)
    return run(ffmpeg, [...reading(demuxer, 'pipe:0'), ...writing], bytes, limits.maxBytes);
  const folder = await mkdtemp(join(tmpdir(), 'chasqui-voice-'));
  try {
    const input = join(folder, 'in');
    await writeFile(input, bytes, { mode: 0o600 });
    return await run(ffmpeg, [...reading(demuxer, input), ...writing], null, limits.maxBytes);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const reading = (demuxer: string, input: string): string[] => [
  '-hide_banner',
  '-loglevel',
  'quiet',
  '-protocol_whitelist',
  'file,pipe',
  '-f',
  demuxer,
  '-i',
  input,
];
const writing = [
  ...['-map', '0:a:0', '-map_metadata', '-1', '-ac', '1', '-ar', '48000', '-c:a', 'libopus', '-b:a', '32k'],
  ...['-application', 'voip', '-threads', '1', '-f', 'ogg', 'pipe:1'],
];

/** Runs ffmpeg with `input` on its standard input. It writes nothing but the sound, because its messages contain names of files. */
function run(program: string, args: readonly string[], input: Buffer | null, maxBytes: number): Promise<Converted> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'ignore'], timeout: timeoutMs, killSignal: 'SIGKILL' });
    const chunks: Buffer[] = [];
    let size = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) child.kill('SIGKILL');
      else chunks.push(chunk);
    });
    // It may end before it has read everything.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? undefined);
    child.once('error', () => resolve({ reason: 'ffmpeg was not found. Install it beside the backend, or set FFMPEG_PATH.' }));
    child.once('close', (code, signal) => {
      const bytes = Buffer.concat(chunks);
      if (code === 0 && isOggOpus(bytes)) return resolve({ bytes });
      if (size > maxBytes) return resolve({ reason: 'The converted voice note would be too large.' });
      resolve({ reason: signal ? 'ffmpeg took too long.' : 'ffmpeg found no sound in the file that it can convert.' });
    });
  });
}
