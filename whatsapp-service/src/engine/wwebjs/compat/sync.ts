import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

/** The page's model of its connection. */
interface Socket {
  [property: PropertyKey]: unknown;
  hasSynced?: boolean;
  on(event: string, ...rest: unknown[]): unknown;
}

export const syncRace: Patch = {
  id: 'sync-race',
  since: '2026-01',
  effect: 'The sync may be over before the library listens for its end: linked, but never ready.',
  threads: [],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.view('sync-race', 'WAWebSocketModel', (module) => ({
      Socket: new Proxy(module.Socket, {
        get: (socket: Socket, name) => {
          const value = socket[name];
          if (name !== 'on') return typeof value === 'function' ? value.bind(socket) : value;
          return (event: string, listener: (...args: unknown[]) => unknown, ...rest: unknown[]) => {
            const result = socket.on(event, listener, ...rest);
            if (event === 'change:hasSynced' && socket.hasSynced === true) {
              core.report('sync-race', 'corrected');
              queueMicrotask(() => listener(socket, true));
            }
            return result;
          };
        },
      }),
    }));
    core.onModules('sync-race', () => core.report('sync-race', 'armed'));
  },
};
