/** Why a process cannot start, in sentences for the operator that end with the next step. It is printed without a stack. */
export class StartProblem extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'StartProblem';
  }
}

/** The operating system refused a file or folder: turns its error into a `StartProblem`. Other errors are returned unchanged. */
export function fileProblem(error: unknown, what: string, path: string): unknown {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string' || !reasons[code]) return error;
  return new StartProblem(`${what} ${path} cannot be used: ${reasons[code]} (${code}). ${nextStep}`);
}

const nextStep = 'Give this user the folder (chown, chmod 700), or name another one with DATA_DIR.';

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is a file',
  EISDIR: 'it is a folder',
  EEXIST: 'a file is in its place',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
};

/** SQLite says that a file is no database, or is damaged: turns its error into a `StartProblem`. Other errors are returned unchanged. */
export function damagedProblem(error: unknown, path: string): unknown {
  const code = String((error as { code?: unknown } | null)?.code ?? '');
  if (!/^SQLITE_(NOTADB|CORRUPT)/.test(code)) return error;
  return new StartProblem(
    `The database ${path} cannot be read: the file is damaged or is not an SQLite database (${code}). ` +
      'Stop all programs that use it, keep a copy of the file and of those beside it (-wal, -shm), and put the latest backup in its place.',
  );
}
