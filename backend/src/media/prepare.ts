import { warning, type MediaType, type Warning } from '@chasqui/shared';
import { isOggOpus, type ConvertVoice } from './voice.js';

/** A file as WhatsApp needs it for one kind of message. */
interface PreparedFile {
  bytes: Buffer;
  mimetype: string;
  /** The warnings about changes that were made, or could not be made. */
  warnings: Warning[];
}

/** Prepares a file for its kind of message: converts voice notes and corrects the type of sound. `mayUseDisk`: see `ConvertVoice`. */
export async function prepareFile(
  kind: MediaType,
  bytes: Buffer,
  mimetype: string,
  { convertVoice, mayUseDisk }: { convertVoice: ConvertVoice; mayUseDisk: boolean },
): Promise<PreparedFile> {
  const isSound = kind === 'audio' || kind === 'voice';
  const unchanged: PreparedFile = { bytes, mimetype: isSound ? soundOf(mimetype) : mimetype, warnings: [] };
  if (kind === 'sticker' && isAnimated(bytes, mimetype)) return { ...unchanged, warnings: [warning('STICKER_NOT_ANIMATED')] };
  if (kind !== 'voice') return unchanged;
  if (isOggOpus(bytes)) return { ...unchanged, mimetype: 'audio/ogg' };
  const converted = await convertVoice(bytes, mimetype, mayUseDisk);
  if ('bytes' in converted) return { bytes: converted.bytes, mimetype: 'audio/ogg', warnings: [] };
  return { ...unchanged, warnings: [warning('VOICE_NOT_CONVERTED', converted.reason)] };
}

/**
 * Returns an audio type for a file that is sent as audio. Containers such as WebM contain audio or video, and their bytes show a video type for
 * both. WhatsApp would send a file of a video type as a video.
 */
const soundOf = (mimetype: string): string =>
  mimetype === 'video/quicktime'
    ? 'audio/mp4'
    : mimetype.replace(/^video\/(x-)?matroska$/, 'audio/webm').replace(/^video\//, 'audio/');

/** Whether a file has several pictures, of the types that become a still sticker. Animated WebP stays animated. */
const isAnimated = (bytes: Buffer, mimetype: string): boolean =>
  (mimetype === 'image/gif' && bytes.includes('NETSCAPE2.0')) || mimetype === 'image/apng';
