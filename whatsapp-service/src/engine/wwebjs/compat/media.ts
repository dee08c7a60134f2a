import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

/** A file that the library has prepared for a send. */
interface PreparedFile {
  __x_id?: unknown;
  toJSON(): Record<string, unknown>;
}
/** What the page is asked to download, and a message that names it. */
interface FileRequest {
  mimetype?: string;
  directPath?: string;
  type: string;
}

export const media: Patch = {
  id: 'media',
  since: '2026-09-17, from 2.3000.10477…',
  effect: 'The prepared file has an enumerable `__x_id` that replaces the message’s id: every file fails to send.',
  threads: ['wwebjs issues 201921, 201922', 'wwebjs PR 201923'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.injected(
      'media',
      'processMediaData',
      (original: (...args: unknown[]) => Promise<PreparedFile | null>) =>
        async (...args: unknown[]) => {
          const data = await original(...args);
          if (!data || !('__x_id' in data)) {
            core.report('media', 'not_needed');
            return data;
          }
          delete data.__x_id;
          const json = data.toJSON;
          // Not enumerable: the library spreads the data into the message, which must not contain it.
          Object.defineProperty(data, 'toJSON', {
            value: () => {
              const { __x_id: _, ...rest } = json.call(data);
              return rest;
            },
          });
          core.report('media', 'corrected');
          return data;
        },
    );
    core.onModules('media', () => core.report('media', 'armed'));
  },
};

export const download: Patch = {
  id: 'download',
  since: '2026-08',
  effect: 'A download without the file’s type is refused: inbound files cannot be fetched.',
  threads: ['wwebjs issue 201908'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    const byType: Record<string, string> = {
      image: 'image/jpeg',
      video: 'video/mp4',
      audio: 'audio/mpeg',
      ptt: 'audio/ogg',
      sticker: 'image/webp',
    };
    core.view('download', 'WAWebDownloadManager', (module) => ({
      downloadManager: new Proxy(module.downloadManager, {
        get: (manager, name) => {
          if (name !== 'downloadAndMaybeDecrypt') return manager[name];
          return (request: FileRequest) => {
            if (request.mimetype) return manager.downloadAndMaybeDecrypt(request);
            const { Msg } = core.module('WAWebCollections');
            const msg = Msg.getModelsArray().find((candidate: FileRequest) => candidate.directPath === request.directPath);
            core.report('download', core.build() >= 1045000000 ? 'corrected' : 'not_needed');
            return manager.downloadAndMaybeDecrypt({
              ...request,
              mimetype: msg?.mimetype || byType[request.type] || 'application/octet-stream',
            });
          };
        },
      }),
    }));
    core.onModules('download', () => core.report('download', core.build() >= 1045000000 ? 'armed' : 'not_needed'));
  },
};
