/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see page/world.ts */
import type { PageWindow } from '../page/world.js';
import type { Mend } from './mend.js';

export const linkPreview: Mend = {
  id: 'link-preview',
  since: '2026',
  effect: 'A link’s preview needs the chat too: text with a link fails.',
  threads: ['wwebjs issue 201823'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    let chat: unknown = null;
    // Sends run one after another until they are handed over, so the chat of the last one is the chat of this one.
    core.injected('link-preview', 'sendMessage', (original: any) => (to: unknown, ...rest: unknown[]) => {
      chat = to;
      return original(to, ...rest);
    });
    core.view('link-preview', 'WAWebLinkPreviewChatAction', (module) => ({
      getLinkPreview: (link: unknown, given?: unknown) => {
        if (!given) core.report('link-preview', core.build() >= 1045000000 ? 'mended' : 'not_needed');
        // A preview is an ornament: without it the text still goes.
        return (async () => module.getLinkPreview(link, given ?? chat))().catch(() => null);
      },
    }));
    core.onModules('link-preview', () => core.report('link-preview', core.build() >= 1045000000 ? 'armed' : 'not_needed'));
  },
};

export const avParams: Mend = {
  id: 'av-params',
  since: '2026',
  effect: 'Messages have no `avParams()` any more: files to channels fail.',
  threads: ['wwebjs issue 201823'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.onModules('av-params', () => {
      const { prototype } = core.module('WAWebCollections').Msg.modelClass;
      if (typeof prototype.avParams === 'function') return core.report('av-params', 'not_needed');
      Object.defineProperty(prototype, 'avParams', {
        configurable: true,
        value(this: any) {
          core.report('av-params', 'mended');
          return { mimetype: this.mimetype, size: this.size, filehash: this.filehash, type: this.type };
        },
      });
      core.report('av-params', 'armed');
    });
  },
};

export const status: Mend = {
  id: 'status',
  since: '2026, gone by 2026-04-30',
  effect: 'A gate that the library asks is gone, and a file’s post takes one object: posting a story fails.',
  threads: ['wwebjs PR 201816'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.view('status', 'WAWebStatusGatingUtils', (module) =>
      module.canCheckStatusRankingPosterGating
        ? {}
        : {
            canCheckStatusRankingPosterGating: () => {
              core.report('status', 'mended');
              return false;
            },
          },
    );
    core.view('status', 'WAWebSendStatusMsgAction', (module) => ({
      sendStatusMediaMsgAction: (...given: any[]) => {
        if (core.build() < 1043500000 || given.length === 1) return module.sendStatusMediaMsgAction(...given);
        const [msg, mediaUpdate] = given;
        core.report('status', 'mended');
        return module.sendStatusMediaMsgAction({ msg, mediaUpdate });
      },
    }));
    core.onModules('status', () => {
      const gate = core.moduleIfAny('WAWebStatusGatingUtils');
      core.report('status', gate?.canCheckStatusRankingPosterGating ? 'not_needed' : 'armed');
    });
  },
};
