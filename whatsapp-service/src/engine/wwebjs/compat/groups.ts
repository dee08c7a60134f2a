import type { PageWindow } from '../page/world.js';
import type { Patch } from './patch.js';

export const description: Patch = {
  id: 'group-description',
  since: '2026',
  effect: 'A group’s description is set with one object now; the library passes separate arguments.',
  threads: ['wwebjs PR 201895'],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    core.view('group-description', 'WAWebGroupModifyInfoJob', (module) => ({
      setGroupDescription: (...args: unknown[]) => {
        // The number of declared parameters is not reliable, so the build decides.
        if (core.build() < 1045000000 || (args.length === 1 && (args[0] as { groupWid?: unknown } | undefined)?.groupWid))
          return module.setGroupDescription(...args);
        const [groupWid, desc, newDescId, prevDescId] = args;
        core.report('group-description', 'corrected');
        return module.setGroupDescription({ groupWid, desc, newDescId, prevDescId });
      },
    }));
    core.onModules('group-description', () =>
      core.report('group-description', core.build() >= 1045000000 ? 'armed' : 'not_needed'),
    );
  },
};

export const participants: Patch = {
  id: 'phantom-participants',
  since: 'always',
  effect: 'Removing, promoting and demoting participants drop ids that they cannot match, and report success.',
  threads: [],
  install: () => {
    const core = (window as unknown as PageWindow).chasqui;
    const refuseEmptyList =
      (change: (chat: unknown, list: unknown[], ...rest: unknown[]) => unknown) =>
      (chat: unknown, list: unknown[], ...rest: unknown[]): unknown => {
        if (list.length > 0) return change(chat, list, ...rest);
        core.report('phantom-participants', 'corrected');
        throw new Error('None of the participants is in the group.');
      };
    core.view('phantom-participants', 'WAWebModifyParticipantsGroupAction', (module) => ({
      removeParticipants: refuseEmptyList(module.removeParticipants),
      promoteParticipants: refuseEmptyList(module.promoteParticipants),
      demoteParticipants: refuseEmptyList(module.demoteParticipants),
    }));
    core.onModules('phantom-participants', () => core.report('phantom-participants', 'armed'));
  },
};
