/** Prints the scripts' messages to the person at the terminal. Nothing here is a log: the processes' logs are files. */

const isColoured = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => (isColoured ? `\u001b[${code}m${text}\u001b[0m` : text);
export const bold = paint('1');
export const dim = paint('2');
export const red = paint('31');
export const green = paint('32');
export const yellow = paint('33');

/** A problem that the user has to fix. `nextStep` says how. */
export class Problem extends Error {
  constructor(message, nextStep) {
    super(message);
    this.name = 'Problem';
    this.nextStep = nextStep;
  }
}

/** Output must not end this process or fill its memory when its reader is gone (`| head`, a closed terminal) or stops reading. */
const maxUnreadChars = 1024 * 1024;
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', () => undefined);
  // Node writes to a terminal with blocking calls: one that stands still (Ctrl-S, a broken connection) would keep a stop from being noticed.
  if (stream.isTTY) stream._handle?.setBlocking?.(false);
}
function put(text, stream = process.stdout) {
  if (stream.writableLength < maxUnreadChars) stream.write(text);
}

export const say = (text = '') => put(`${text}\n`);
export const warn = (text) => put(`${yellow('!')} ${text}\n`);
export const seconds = (ms) => `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;

const isLive = process.stdout.isTTY && !process.env.CI;

/**
 * Runs `work` and shows that something happens: a running second count on a terminal, a line every 15 s elsewhere.
 * `work` gets a function that shows what it is doing now. Returns the result of `work`, or throws its error.
 */
export async function step(title, work) {
  const started = performance.now();
  const elapsed = () => seconds(performance.now() - started);
  let detail = '';
  const draw = () => {
    const text = `… ${title} ${elapsed()}${detail ? `  ${detail}` : ''}`;
    put(isLive ? `\r\u001b[2K${text.slice(0, (process.stdout.columns ?? 100) - 1)}` : `${text}\n`);
  };
  const timer = setInterval(draw, isLive ? 500 : 15_000);
  if (isLive) draw();
  const end = (mark) => {
    clearInterval(timer);
    put(`${isLive ? '\r\u001b[2K' : ''}${mark} ${title} ${dim(elapsed())}\n`);
  };
  try {
    const result = await work((text) => {
      detail = text;
    });
    end(green('✓'));
    return result;
  } catch (error) {
    end(red('✗'));
    throw error;
  }
}

const fileTroubles = {
  ENOSPC: ['The disk is full', 'Free some space'],
  EDQUOT: ['The disk quota of this user is used up', 'Free some space'],
  EROFS: ['The file system is read-only', 'Name another folder (DATA_DIR for data), or mount it writable'],
  EACCES: ['This user may not use a file', 'Give it to this user (chown, chmod)'],
  EPERM: ['This user may not use a file', 'Give it to this user (chown, chmod)'],
  EISDIR: ['A folder is in the place of a file', 'Move it away'],
  ENOTDIR: ['A file is in the place of a folder', 'Move it away'],
  EIO: ['The disk reports an error', 'Check the disk'],
  EMFILE: ['This process has too many open files', 'Raise the limit (ulimit -n)'],
  ENFILE: ['The system has too many open files', 'End other programs, or raise the limit'],
};

/** The operating system refused a file: that is for the operator to correct, and a stack would not help. Other errors are returned unchanged. */
function fileProblem(error) {
  const found = error?.syscall && fileTroubles[error.code];
  if (!found) return error;
  return new Problem(`${found[0]}: ${error.message}`, `${found[1]}, then run the same command again.`);
}

/** Prints an error as a person needs it: what is wrong, then what to do. A bug keeps its stack. */
export function showProblem(thrown) {
  const error = fileProblem(thrown);
  const isForPeople = error instanceof Problem || error?.name === 'SettingsError';
  put(`\n${red('✗')} ${isForPeople ? error.message : (error?.stack ?? String(error))}\n`, process.stderr);
  if (error?.nextStep) put(`${bold('→')} ${error.nextStep}\n`, process.stderr);
}

/** The last lines of a long output: enough to see why something failed. */
export const tail = (text, lines = 25) => text.trimEnd().split('\n').slice(-lines).join('\n');
