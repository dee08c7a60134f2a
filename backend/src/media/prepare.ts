import { validationError, warning, type MediaType, type Warning } from '@chasqui/shared';
import { headOf, includesText, type FileBytes } from '../lib/file-bytes.js';
import { headBytes, isOggOpus, type Convert, type Target } from './convert.js';

/** A file as WhatsApp needs it for one kind of message. */
interface PreparedFile {
  bytes: FileBytes;
  mimetype: string;
  /** The warnings about changes that were made, or could not be made. */
  warnings: Warning[];
}

/**
 * Converts voice notes, moving stickers and GIF, and names sound as sound. `mayUseDisk`: see `Convert`. Throws `VALIDATION_FAILED` for a file that
 * could only be sent as something else.
 */
export async function prepareFile(
  { kind, bytes, mimetype }: { kind: MediaType; bytes: FileBytes; mimetype: string },
  { convert, mayUseDisk }: { convert: Convert; mayUseDisk: boolean },
): Promise<PreparedFile> {
  const isSound = kind === 'audio' || kind === 'voice';
  const unchanged: PreparedFile = { bytes, mimetype: isSound ? soundOf(mimetype) : mimetype, warnings: [] };
  const converter = async (target: Target, becomes: string): Promise<PreparedFile | string> => {
    const converted = await convert(target, bytes, mimetype, mayUseDisk);
    if ('reason' in converted) return converted.reason;
    return { bytes: converted.bytes, mimetype: becomes, warnings: [] };
  };
  if (kind === 'voice') {
    if (isOggOpus(await headOf(bytes, headBytes))) return { ...unchanged, mimetype: 'audio/ogg' };
    const made = await converter('voice', 'audio/ogg');
    return typeof made === 'string' ? { ...unchanged, warnings: [warning('VOICE_NOT_CONVERTED', made)] } : made;
  }
  if (kind === 'sticker') {
    const isVideo = mimetype.startsWith('video/');
    if (!isVideo && !(await isAnimated(bytes, mimetype))) return unchanged;
    const made = await converter('sticker', 'image/webp');
    if (typeof made !== 'string') return made;
    if (isVideo) throw notConverted(`A video becomes a sticker only with ffmpeg. ${made}`);
    return { ...unchanged, warnings: [warning('STICKER_NOT_ANIMATED', made)] };
  }
  if (kind === 'video' && mimetype === 'image/gif') {
    const made = await converter('film', 'video/mp4');
    if (typeof made === 'string') throw notConverted(`WhatsApp shows a GIF only as a film, which ffmpeg makes of it. ${made}`);
    return made;
  }
  return unchanged;
}

const notConverted = (message: string): Error => validationError([{ path: 'file', code: 'NOT_CONVERTED', message }]);

/**
 * Returns an audio type for a file that is sent as audio. Containers such as WebM contain audio or video, and their bytes show a video type for
 * both. WhatsApp would send a file of a video type as a video.
 */
const soundOf = (mimetype: string): string =>
  mimetype === 'video/quicktime'
    ? 'audio/mp4'
    : mimetype.replace(/^video\/(x-)?matroska$/, 'audio/webm').replace(/^video\//, 'audio/');

/** Whether a file has several pictures, of the types that become a still sticker. Animated WebP stays animated. */
const isAnimated = async (bytes: FileBytes, mimetype: string): Promise<boolean> =>
  mimetype === 'image/apng' || (mimetype === 'image/gif' && (await includesText(bytes, 'NETSCAPE2.0')));
