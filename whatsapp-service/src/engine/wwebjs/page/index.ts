import { accountScript } from './account.js';
import { contactsScript } from './contacts.js';
import { coreScript } from './core.js';
import { downloadScript } from './download.js';
import { filesScript } from './files.js';
import { groupsScript } from './groups.js';
import { historyScript } from './history.js';
import { listenersScript } from './listeners.js';
import { modelsScript } from './models.js';
import { operateScript } from './operate.js';
import { passkeysScript } from './passkeys.js';
import { presenceScript } from './presence.js';
import { sendScript } from './send.js';
import { storyScript } from './story.js';
import { toolsScript } from './tools.js';
import { typingScript } from './typing.js';
import { watchScript } from './watch.js';

/** The worker's scripts for WhatsApp's page, in the order in which they run. The first five build `window.chasqui`, which the later ones use. */
export const pageScripts: Readonly<Record<string, string>> = {
  core: coreScript,
  tools: toolsScript,
  operate: operateScript,
  groups: groupsScript,
  story: storyScript,
  models: modelsScript,
  watch: watchScript,
  passkeys: passkeysScript,
  listeners: listenersScript,
  account: accountScript,
  contacts: contactsScript,
  history: historyScript,
  files: filesScript,
  send: sendScript,
  download: downloadScript,
  presence: presenceScript,
  typing: typingScript,
};
