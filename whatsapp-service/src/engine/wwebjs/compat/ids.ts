import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

/** Restores `_serialized` of ids in the page. A getter is not copied to Node, so the bridge adds the field to values that leave the page. */
export const ids: Patch = {
  id: 'ids',
  since: '2026-07, from 2.3000.1042401057',
  effect:
    'Ids have their text form in `$1` and `_serialized` is undefined: ids, acks, quotes, downloads and chats fail or are null.',
  threads: ['wwebjs PR 201832, 201840, 201847', 'wwebjs issues 201830, 201833'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.onModules('ids', () => {
      const wid = core.module('WAWebWidFactory').createWid('0@c.us');
      const MsgKey = core.module('WAWebMsgKey');
      const key = new MsgKey({ fromMe: true, remote: wid, id: 'A', from: wid, to: wid, selfDir: 'out' });
      let isAffected = false;
      for (const sample of [wid, key] as { _serialized?: unknown }[]) {
        if (sample._serialized !== undefined) continue;
        isAffected = true;
        Object.defineProperty(Object.getPrototypeOf(sample), '_serialized', {
          configurable: true,
          get(this: object) {
            return this.toString();
          },
        });
      }
      core.report('ids', isAffected ? 'corrected' : 'not_needed');
    });
  },
};
