import type { Account, Device } from '../accounts.js';
import type { World } from '../world.js';

/** Who is on the line, for the tables of operations. */
export interface OnLine {
  world: World;
  me: () => Account;
  device: () => Device;
}
/** One request of our own page; it writes what its operation reads, so nothing is parsed here. */
export type Ops = Record<string, (d: never) => unknown>;
