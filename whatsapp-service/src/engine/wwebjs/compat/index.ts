import { description, participants } from './groups.js';
import { ids } from './ids.js';
import { download, media } from './media.js';
import type { Patch } from './patch.js';
import { block, chatOrigin } from './people.js';
import { avParams, linkPreview, status } from './sending.js';
import { syncRace } from './sync.js';

/** Every patch that is installed in the page. The bridge itself is one more: it restores the messages of the page's errors. */
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
