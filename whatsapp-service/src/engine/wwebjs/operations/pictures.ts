import type { PageCore, PageWindow } from '../page/world.js';
import { need } from './context.js';
import type { PageFile } from './file.js';

/** Sets and removes pictures of the linked account and of groups. Each function runs in the page and uses nothing outside its arguments. */

export const settingPictures = [
  need('WAWebContactProfilePicThumbBridge', 'sendSetPicture', 'requestDeletePicture'),
  need('WAWebCollections', 'ProfilePicThumb.find'),
];

export interface PictureOf {
  /** The linked account's own id, or a group's. */
  id: string;
}
export interface NewPicture extends PictureOf {
  file: PageFile;
}

/** Returns a text that identifies the current picture. Null: the page knows of none. Refuses if this account may not change the picture. */
export async function pictureMark(core: PageCore, { id }: PictureOf): Promise<string | null> {
  const thumbs = core.collections().ProfilePicThumb;
  const wid = core.widOf(id);
  const thumb = thumbs.get(wid) ?? (await thumbs.find(wid));
  if (!thumb?.canSet?.()) core.refuse('WHATSAPP_NOT_PERMITTED', { id });
  return thumb.eurl ? [thumb.tag, thumb.eurl].join(' ') : null;
}

/** Sends the picture in the two square sizes that WhatsApp shows. Refuses a file that the browser cannot draw. */
export async function setPicture(core: PageCore, { id, file }: NewPicture): Promise<unknown> {
  const { WWebJS } = window as unknown as PageWindow;
  const square = (size: number): Promise<string> =>
    WWebJS.cropAndResizeImage(file, { asDataUrl: true, mimetype: 'image/jpeg', size }).catch(() =>
      core.refuse('FILE_TYPE_NOT_ALLOWED', { type: file.mimetype, reason: 'The browser cannot draw this picture.' }),
    );
  const [thumbnail, picture] = await Promise.all([square(96), square(640)]);
  return core.module('WAWebContactProfilePicThumbBridge').sendSetPicture(core.widOf(id), thumbnail, picture);
}

/** Removes the picture. Does nothing when there is none. */
export async function deletePicture(core: PageCore, { id }: PictureOf, mark: string | null): Promise<unknown> {
  if (mark === null) return null;
  return core.module('WAWebContactProfilePicThumbBridge').requestDeletePicture(core.widOf(id));
}

/** Whether the page shows another picture than before. */
export function showsNewPicture(core: PageCore, { id }: PictureOf, mark: string | null): boolean {
  const thumb = core.collections().ProfilePicThumb.get(core.widOf(id));
  return Boolean(thumb?.eurl) && [thumb.tag, thumb.eurl].join(' ') !== mark;
}

/** Whether the page shows no picture. */
export function showsNoPicture(core: PageCore, { id }: PictureOf): boolean {
  return !core.collections().ProfilePicThumb.get(core.widOf(id))?.eurl;
}
