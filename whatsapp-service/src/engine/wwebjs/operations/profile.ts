import { phoneOf } from '@chasqui/shared';
import type { PageCore, PageWindow } from '../page/world.js';
import { need, read, type OperationHandlers } from './context.js';

export const profile: OperationHandlers<'profile'> = {
  'profile.get': read('profile.get', {
    needs: [
      need('WAWebContactStatusBridge', 'getStatus'),
      need('WAWebContactProfilePicThumbBridge', 'requestProfilePicFromServer'),
    ],
    async run(_, { call, inPage }) {
      const me = await call<PageIdentity>('identity', {});
      const [about, picture] = me.phone
        ? await Promise.all([inPage(aboutOf, { id: me.phone }), inPage(pictureOf, { id: me.phone })])
        : [null, null];
      return {
        phoneNumber: phoneOf(me.phone),
        lid: me.lid,
        name: me.pushName,
        about,
        picture,
        isBusiness: /^smb/.test(me.platform ?? ''),
        platform: me.platform,
      };
    },
  }),
};

interface PageIdentity {
  phone: string | null;
  lid: string | null;
  pushName: string | null;
  platform: string | null;
}

/** Runs in the page. Asks WhatsApp's server. */
async function aboutOf(core: PageCore, { id }: { id: string }): Promise<string | null> {
  const answer = await core.module('WAWebContactStatusBridge').getStatus({ token: '', wid: core.widOf(id) });
  return typeof answer?.status === 'string' ? answer.status : null;
}

/** Runs in the page. The address of the profile picture, from WhatsApp's server. */
async function pictureOf(core: PageCore, { id }: { id: string }): Promise<string | null> {
  const { WWebJS } = window as unknown as PageWindow;
  const bridge = core.module('WAWebContactProfilePicThumbBridge');
  const chat = core.chatOf(id) ?? (await WWebJS.getChat(id, { getAsModel: false }));
  return (await bridge.requestProfilePicFromServer(chat))?.eurl ?? null;
}
