import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

/** The fields of a message that its `avParams()` had. */
type FileFields = Record<'mimetype' | 'size' | 'filehash' | 'type', unknown>;

export const linkPreview: Patch = {
  id: 'link-preview',
  since: '2026',
  effect: 'A link preview needs the chat as an argument: text with a link fails.',
  threads: ['wwebjs issue 201823'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    let chat: unknown = null;
    // Sends run one after another until they are handed over, so this chat is the one of the running send.
    core.injected(
      'link-preview',
      'sendMessage',
      (original: (...args: unknown[]) => unknown) =>
        (to: unknown, ...rest: unknown[]) => {
          chat = to;
          return original(to, ...rest);
        },
    );
    core.view('link-preview', 'WAWebLinkPreviewChatAction', (module) => ({
      getLinkPreview: (link: unknown, chatArgument?: unknown) => {
        if (!chatArgument) core.report('link-preview', core.build() >= 1045000000 ? 'corrected' : 'not_needed');
        // Without a preview the text is still sent.
        return (async () => module.getLinkPreview(link, chatArgument ?? chat))().catch(() => null);
      },
    }));
    core.onModules('link-preview', () => core.report('link-preview', core.build() >= 1045000000 ? 'armed' : 'not_needed'));
  },
};

export const avParams: Patch = {
  id: 'av-params',
  since: '2026',
  effect: 'Messages no longer have `avParams()`: files to channels fail.',
  threads: ['wwebjs issue 201823'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.onModules('av-params', () => {
      const { prototype } = core.module('WAWebCollections').Msg.modelClass;
      if (typeof prototype.avParams === 'function') return core.report('av-params', 'not_needed');
      Object.defineProperty(prototype, 'avParams', {
        configurable: true,
        value(this: FileFields) {
          core.report('av-params', 'corrected');
          return { mimetype: this.mimetype, size: this.size, filehash: this.filehash, type: this.type };
        },
      });
      core.report('av-params', 'armed');
    });
  },
};

export const status: Patch = {
  id: 'status',
  since: '2026, gone by 2026-04-30',
  effect: 'A function that the library calls is gone, and posting a file now needs one object: posting a story fails.',
  threads: ['wwebjs PR 201816'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.view('status', 'WAWebStatusGatingUtils', (module) =>
      module.canCheckStatusRankingPosterGating
        ? {}
        : {
            canCheckStatusRankingPosterGating: () => {
              core.report('status', 'corrected');
              return false;
            },
          },
    );
    core.view('status', 'WAWebSendStatusMsgAction', (module) => ({
      sendStatusMediaMsgAction: (...args: unknown[]) => {
        if (core.build() < 1043500000 || args.length === 1) return module.sendStatusMediaMsgAction(...args);
        const [msg, mediaUpdate] = args;
        core.report('status', 'corrected');
        return module.sendStatusMediaMsgAction({ msg, mediaUpdate });
      },
    }));
    core.onModules('status', () => {
      const gating = core.moduleIfAny('WAWebStatusGatingUtils');
      core.report('status', gating?.canCheckStatusRankingPosterGating ? 'not_needed' : 'armed');
    });
  },
};
