/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageStories, PageWindow } from './world.js';

/** Adds functions for stories to `window.chasqui`: one composes a story, one finds a story of the account. `PageStories` in world.ts describes them. */
function installStories(): void {
  const win = window as unknown as PageWindow;
  const core = win.chasqui;
  if (!core || (core as Partial<PageCore>).ownStory) return;
  const stories: PageStories = {
    ownStory: (key) => ownStory(core, key),
    storyMessage: (chat, input, options) => storyMessage(core, win, chat, input, options),
  };
  Object.assign(core, stories);
}

function ownStory(core: PageCore, key: string): any {
  const { Status } = core.collections();
  const { pn, lid } = ownIdsOf(core);
  for (const id of [lid, pn].filter(Boolean)) {
    const story = Status?.get?.(id)
      ?.msgs?.getModelsArray?.()
      .find((msg: any) => msg?.id?.id === key);
    if (story) return story;
  }
  return null;
}

async function storyMessage(
  core: PageCore,
  win: PageWindow,
  chat: any,
  { body, reservedId }: { body: string; reservedId: string },
  options: any,
): Promise<any> {
  const { pn, lid } = ownIdsOf(core);
  // Newer builds identify the authors of stories by LID.
  const from = core.build() >= 1042401057 ? (lid ?? pn) : pn;
  const { media, caption, sendVideoAsGif: forceGif, extraOptions } = options;
  const file = media ? await win.WWebJS.processMediaData(media, { forceGif, sendToStatus: true }) : {};
  return {
    ack: 0,
    body: media ? file.preview : body,
    from,
    to: chat.id,
    author: from,
    local: true,
    self: 'out',
    t: Math.floor(Date.now() / 1000),
    isNewMsg: true,
    type: 'chat',
    messageSecret: win.crypto.getRandomValues(new Uint8Array(32)),
    // WhatsApp keeps the colour and the font of a text only if this field is set.
    ctwaContext: {},
    ...file,
    ...(file.toJSON ? file.toJSON() : {}),
    ...(caption ? { caption } : {}),
    ...extraOptions,
    id: new (core.module('WAWebMsgKey'))({ from, to: chat.id, id: reservedId, participant: from, selfDir: 'out' }),
  };
}

function ownIdsOf(core: PageCore): { pn: any; lid: any } {
  const me = core.moduleIfAny('WAWebUserPrefsMeUser');
  return { pn: me?.getMaybeMePnUser?.() ?? null, lid: me?.getMaybeMeLidUser?.() ?? null };
}

export const storyScript = pageScript(installStories, [ownStory, storyMessage, ownIdsOf]);
