import type { Account, Device } from '../accounts.js';
import type { World } from '../world.js';

/** The account and device of a connection, for the tables of operations. */
export interface OnLine {
  world: World;
  me: () => Account;
  device: () => Device;
}
/** The operations of our own page, by name. The page and the operation are written together, so the input is not parsed. */
export type Ops = Record<string, (d: never) => unknown>;
