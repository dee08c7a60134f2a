import { description, participants } from './groups.js';
import { ids } from './ids.js';
import { download, media } from './media.js';
import type { Mend } from './mend.js';
import { block } from './people.js';
import { avParams, linkPreview, status } from './sending.js';
import { syncRace } from './sync.js';

/** Every mend. The twelfth, the words of the page's errors, is the bridge itself. */
export const mends: readonly Mend[] = [
  ids,
  media,
  download,
  syncRace,
  description,
  block,
  status,
  linkPreview,
  avParams,
  participants,
];
