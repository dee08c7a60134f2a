/** Thrown when the disk could not store a file. The file itself is valid. */
export class StorageFailed extends Error {
  /** The code of the failed call. */
  readonly code: string | null;
  constructor(cause: unknown) {
    super('The disk could not store a file.', { cause });
    this.name = 'StorageFailed';
    const code = (cause as { code?: unknown } | null)?.code;
    this.code = typeof code === 'string' ? code : null;
  }
}

/** Codes of the disk and of the limit of open files. None of them comes from a socket, except the last two, which say the same of one. */
const codes = ['EROFS', 'EIO', 'EACCES', 'EPERM', 'ESTALE', 'ENODEV', 'ENXIO', 'EMFILE', 'ENFILE'];

/** Whether a call of the file system failed because of the disk, its permissions or the limit of open files, not because of its arguments. */
export function isStorageFailure(error: object): boolean {
  if (error instanceof StorageFailed) return true;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  return typeof syscall === 'string' && typeof code === 'string' && codes.includes(code);
}
