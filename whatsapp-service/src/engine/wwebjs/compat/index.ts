import { description, participants } from './groups.js';
import { ids } from './ids.js';
import { download, media } from './media.js';
import type { Patch } from './patch.js';
import { block, chatOrigin } from './people.js';
import { avParams, linkPreview, status } from './sending.js';
import { syncRace } from './sync.js';

/** Every patch that is installed in the page. `bridge.ts` also works around defects, but outside the page. */
export const patches: readonly Patch[] = [
  ids,
  media,
  download,
  syncRace,
  description,
  block,
  chatOrigin,
  status,
  linkPreview,
  avParams,
  participants,
];
