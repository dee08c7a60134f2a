/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see page/world.ts */
import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

export const callHook: Patch = {
  id: 'call-hook',
  since: '2026-07',
  effect: 'The collection of calls has no map any more. The library wraps it, throws, and never listens for messages.',
  threads: ['wwebjs 201892', 'wa-js 3567'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    const hasMap = (module: any): boolean => Object.values(module).some((value) => value instanceof Map);
    // Without `on` the library skips its hook.
    core.view('call-hook', 'WAWebCallCollection', (module) => {
      if (hasMap(module)) return {};
      core.report('call-hook', 'mended');
      return { on: undefined };
    });
    core.onModules('call-hook', () => {
      const module = core.moduleIfAny('WAWebCallCollection');
      core.report('call-hook', module && hasMap(module) ? 'not_needed' : 'armed');
    });
  },
};
