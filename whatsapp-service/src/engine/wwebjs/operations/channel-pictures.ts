import type { PageCore, PageWindow } from '../page/world.js';
import { need } from './context.js';
import type { PageFile } from './file.js';

/** Setting and deleting the picture of a channel. */

/** What the page needs for it. */
export const picturing = [
  need('WAWebEditNewsletterMetadataAction', 'editNewsletterMetadataAction'),
  need('WAWebCollections', 'ProfilePicThumb.find'),
];

interface ChannelPicture {
  channelId: string;
  id: string;
}

/** Runs in the page. Returns a text that identifies the current picture. Null: there is none. Refuses who may not change it. */
export async function channelPictureMark(core: PageCore, { channelId }: ChannelPicture): Promise<string | null> {
  const channel = await core.findChannel(channelId);
  const { role } = core.channelRow(channel);
  if (role !== 'owner' && role !== 'admin')
    core.refuse('WHATSAPP_NOT_PERMITTED', { channelId, reason: 'The account is neither owner nor admin of this channel.' });
  const thumbs = core.collections().ProfilePicThumb;
  const thumb = thumbs.get(channel.id) ?? (await thumbs.find(channel.id));
  return thumb?.eurl ? [thumb.tag, thumb.eurl].join(' ') : null;
}

/** Runs in the page. Refuses a file that the browser cannot draw. */
export async function setPicture(core: PageCore, { channelId, file }: ChannelPicture & { file: PageFile }): Promise<void> {
  const { WWebJS } = window as unknown as PageWindow;
  const picture = await WWebJS.cropAndResizeImage(file, { asDataUrl: true, mimetype: 'image/jpeg', size: 640 }).catch(() =>
    core.refuse('FILE_TYPE_NOT_ALLOWED', { type: file.mimetype, reason: 'The browser cannot draw this picture.' }),
  );
  const edit = core.module('WAWebEditNewsletterMetadataAction').editNewsletterMetadataAction;
  await core.permitted(() => edit(core.requireChannel(channelId), { editPicture: true }, { picture }));
}

/** Runs in the page. Does nothing when there is no picture. */
export async function deletePicture(core: PageCore, { channelId }: ChannelPicture, mark: string | null): Promise<void> {
  if (mark === null) return;
  const edit = core.module('WAWebEditNewsletterMetadataAction').editNewsletterMetadataAction;
  await core.permitted(() => edit(core.requireChannel(channelId), { editPicture: true }, { picture: null }));
}
