import { AppError, phoneOf, type OperationOutput } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { need, read, type OperationContext, type OperationHandlers } from './context.js';
import { readFileOf } from './file.js';
import { aboutOf, askingAbout, askingPictures, pictureOf } from './people.js';
import { deletePicture, pictureMark, setPicture, settingPictures, showsNewPicture, showsNoPicture } from './pictures.js';

const reading = [...askingAbout, ...askingPictures, need('WAWebConnModel')];
const done = (_: unknown, context: OperationContext): Promise<OperationOutput<'profile.get'>> => readProfile(context);

export const profile: OperationHandlers<'profile'> = {
  'profile.get': read('profile.get', {
    needs: reading,
    run: (_, context) => readProfile(context),
  }),
  'profile.setName': change('profile.setName', {
    needs: [need('WAWebSetPushnameConnAction', 'setPushname'), need('WAWebConnModel', 'Conn.canSetMyPushname'), ...reading],
    before: mayRename,
    act: rename,
    effect: isNamed,
    done,
  }),
  'profile.setAbout': change('profile.setAbout', {
    needs: [need('WAWebContactStatusBridge', 'setMyStatus'), ...reading],
    act: setAbout,
    effect: hasAbout,
    done,
  }),
  'profile.setPicture': change('profile.setPicture', {
    needs: [...settingPictures, ...reading],
    prepare: async (_, context) => ({ id: await ownId(context), file: await readFileOf(context) }),
    before: pictureMark,
    act: setPicture,
    effect: showsNewPicture,
    done,
  }),
  'profile.deletePicture': change('profile.deletePicture', {
    needs: [...settingPictures, ...reading],
    prepare: async (_, context) => ({ id: await ownId(context) }),
    before: pictureMark,
    act: deletePicture,
    effect: showsNoPicture,
    done,
  }),
};

interface PageIdentity {
  phone: string | null;
  lid: string | null;
  pushName: string | null;
  platform: string | null;
}

async function ownId({ call }: OperationContext): Promise<string> {
  const { phone, lid } = await call<PageIdentity>('identity', {});
  const id = phone ?? lid;
  if (id === null) throw new AppError('WHATSAPP_ERROR', {}, 'WhatsApp Web does not say which account is linked.');
  return id;
}

async function readProfile({ call, inPage }: OperationContext): Promise<OperationOutput<'profile.get'>> {
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
}

/** Runs in the page. Refuses an account that cannot change its name, such as a business account. */
function mayRename(core: PageCore): null {
  if (!core.module('WAWebConnModel').Conn.canSetMyPushname())
    core.refuse('WHATSAPP_REFUSED', {
      whatsapp: { message: 'This account cannot change its name, as business accounts cannot.' },
    });
  return null;
}

/** Runs in the page. */
async function rename(core: PageCore, { name }: { name: string }): Promise<void> {
  await core.module('WAWebSetPushnameConnAction').setPushname(name);
}

/** Runs in the page. */
function isNamed(core: PageCore, { name }: { name: string }): boolean {
  return core.module('WAWebConnModel').Conn.pushname === name;
}

/** Runs in the page. */
async function setAbout(core: PageCore, { about }: { about: string }): Promise<void> {
  await core.module('WAWebContactStatusBridge').setMyStatus(about);
}

/** Runs in the page. Asks WhatsApp's server, because the page has no model of the account's about text. */
async function hasAbout(core: PageCore, { about }: { about: string }): Promise<boolean> {
  const answer = await core.module('WAWebContactStatusBridge').getStatus({ token: '', wid: core.me()[0] });
  return (answer?.status ?? '') === about;
}
