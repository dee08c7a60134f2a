import { StringDecoder } from 'node:string_decoder';

/** Enough for every line that a process writes on purpose; the rest of a longer one is cut. */
const maxLineChars = 1024 * 1024;

/**
 * Calls `onLine` for each line of a stream. Unlike `readline` it holds no more than `maxChars` of a line that never ends, and an error of
 * the stream (the other process died) ends the reading and nothing else.
 */
export function readLines(stream, onLine, maxChars = maxLineChars) {
  const decoder = new StringDecoder('utf8');
  let line = '';
  const take = (text) => {
    if (line.length < maxChars) line += text.slice(0, maxChars - line.length);
  };
  stream.on('data', (bytes) => {
    const pieces = decoder.write(bytes).split('\n');
    for (const [index, piece] of pieces.entries()) {
      take(piece);
      if (index === pieces.length - 1) continue;
      onLine(line.endsWith('\r') ? line.slice(0, -1) : line);
      line = '';
    }
  });
  stream.on('end', () => line && onLine(line));
  stream.on('error', () => undefined);
}
