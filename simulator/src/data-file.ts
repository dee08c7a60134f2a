import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { Account } from './accounts.js';
import type { Channel } from './channels.js';
import type { Group } from './groups.js';
import type { World } from './world.js';

interface Kept {
  accounts: Account[];
  groups: Map<string, Group>;
  channels: Map<string, Channel>;
  media: Map<string, Buffer>;
}

/** Maps, sets and bytes as JSON. The whole file is written each time: it is for demos and tests, not for gigabytes. */
const pack = (name: string, value: unknown): unknown => {
  if (name === 'line' || name === 'byChat') return undefined;
  if (value instanceof Map) return { $map: [...(value as Map<unknown, unknown>)] };
  if (value instanceof Set) return { $set: [...(value as Set<unknown>)] };
  if (isPackedBuffer(value)) return { $bytes: Buffer.from(value.data).toString('base64') };
  return value;
};
const unpack = (_: string, value: unknown): unknown => {
  if (typeof value !== 'object' || value === null) return value;
  const packed = value as { $map?: [unknown, unknown][]; $set?: unknown[]; $bytes?: string };
  if (packed.$map) return new Map(packed.$map);
  if (packed.$set) return new Set(packed.$set);
  if (packed.$bytes !== undefined) return Buffer.from(packed.$bytes, 'base64');
  return value;
};
/** JSON.stringify calls a Buffer's own `toJSON` first. */
const isPackedBuffer = (value: unknown): value is { type: 'Buffer'; data: number[] } =>
  typeof value === 'object' &&
  value !== null &&
  (value as { type?: unknown }).type === 'Buffer' &&
  Array.isArray((value as { data?: unknown }).data);

/**
 * Stores the world in one file, so that linked pages are still linked after a restart of the simulator. A write is delayed for a
 * moment and replaces the whole file. If the process is killed before, the previous file remains.
 */
export function keepInFile(world: World, file: string) {
  load(world, file);
  let timer: NodeJS.Timeout | null = null;
  function save(): void {
    if (timer) clearTimeout(timer);
    timer = null;
    const kept: Kept = {
      accounts: [...world.phones.accounts.values()],
      groups: world.groups.groups,
      channels: world.channels.channels,
      media: world.media.files,
    };
    writeFileSync(`${file}.new`, JSON.stringify(kept, pack));
    renameSync(`${file}.new`, file);
  }
  return {
    changed(): void {
      timer ??= setTimeout(save, 250).unref();
    },
    save,
  };
}

function load(world: World, file: string): void {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const kept = JSON.parse(text, unpack) as Kept;
  for (const account of kept.accounts) {
    account.byChat = new Map();
    for (const message of account.history.values()) {
      const inChat = account.byChat.get(message.chat);
      if (inChat) inChat.push(message);
      else account.byChat.set(message.chat, [message]);
    }
    for (const device of account.devices.values()) device.line = null;
    world.phones.add(account);
  }
  for (const [id, group] of kept.groups) world.groups.groups.set(id, group);
  for (const [id, channel] of kept.channels) world.channels.channels.set(id, channel);
  for (const [path, bytes] of kept.media) world.media.files.set(path, bytes);
}
