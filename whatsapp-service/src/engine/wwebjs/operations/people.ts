/* eslint-disable @typescript-eslint/no-explicit-any -- these functions run in the page */
import type { PageCore } from '../page/world.js';
import { need } from './context.js';

/** Asks WhatsApp's server about a person. Each function runs in the page and uses nothing outside its arguments. */

export const askingAbout = [need('WAWebContactStatusBridge', 'getStatus')];
export const askingPictures = [need('WAWebContactProfilePicThumbBridge', 'requestProfilePicFromServer')];

/** Returns the about text. Null: the person hides it, or has none. */
export async function aboutOf(core: PageCore, { id }: { id: string }): Promise<string | null> {
  const answer = await core.module('WAWebContactStatusBridge').getStatus({ token: '', wid: core.widOf(id) });
  return typeof answer?.status === 'string' ? answer.status : null;
}

/** Returns the URL of the picture. Null: it is hidden, or there is none. Opens no chat, unlike the library's function. */
export async function pictureOf(core: PageCore, { id }: { id: string }): Promise<string | null> {
  const wid = core.widOf(id);
  const model = core.chatOf(id) ?? core.collections().Contact.get(wid) ?? { id: wid };
  try {
    const answer = await core.module('WAWebContactProfilePicThumbBridge').requestProfilePicFromServer(model);
    return typeof answer?.eurl === 'string' ? answer.eurl : null;
  } catch (error: any) {
    // The server's answers for a picture that this account may not see, or that does not exist.
    if (error?.status === 401 || error?.status === 403 || error?.status === 404) return null;
    throw error;
  }
}
