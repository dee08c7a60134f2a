import type { Linking } from '../linking.js';
import { faultOperations, type FaultParts } from './faults.js';
import { groupOperations } from './groups.js';
import { messageOperations } from './messages.js';
import { ownerOperations } from './owners.js';
import { phoneOperations } from './phones.js';

export interface ControlParts extends FaultParts {
  linking: Linking;
}

/** The operations of the control API, for tests and the phone page. */
export const controlOperations = (parts: ControlParts) => ({
  ...phoneOperations(parts),
  ...ownerOperations(parts),
  ...messageOperations(parts),
  ...groupOperations(parts),
  ...faultOperations(parts),
});
export type ControlOperations = ReturnType<typeof controlOperations>;
