import { open } from 'node:fs/promises';

/** Writes the names in a folder to the disk, so that a rename survives a power cut. Windows cannot do that, and has no need to. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder);
  await handle.sync().finally(() => handle.close());
}
