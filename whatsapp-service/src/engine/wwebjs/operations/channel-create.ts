import type { ChannelResource } from '@chasqui/shared';
import type { ChannelRow, PageCore, PageWindow } from '../page/world.js';
import { change } from './change.js';
import { channelResource } from './channel-rows.js';
import { need, type OperationContext } from './context.js';
import { readFileOf, type PageFile } from './file.js';

/** Creates a channel. A channel whose picture WhatsApp did not take is created all the same: `picture` of the reply is null then. */
export const createChannel = change('channels.create', {
  needs: [need('WAWebNewsletterCreateQueryJob', 'createNewsletterQuery')],
  prepare: async ({ name, description = null }, context) => ({
    name,
    description,
    file: context.file ? await readFileOf(context) : null,
  }),
  before: mayCreate,
  act: create,
  effect: isCreated,
  partly: (_input, context, { given, before, result }) => created(given, before, result, context),
  done: async (_input, context, { given, before, result }) => (await created(given, before, result, context))!,
});

interface Given {
  name: string;
  description: string | null;
  /** The picture. */
  file: PageFile | null;
}
interface Before {
  /** The ids of the channels that already have this name. */
  known: string[];
}

async function created(
  { name }: Given,
  { known }: Before,
  id: string | null,
  { inPage }: OperationContext,
): Promise<ChannelResource | null> {
  const row = await inPage(newChannel, { name, known, id });
  return row && channelResource(row);
}

/** Runs in the page. Refuses if the account may not create channels. */
function mayCreate(core: PageCore, { name }: Given): Before {
  const isEnabled = core.moduleIfAny('WAWebNewsletterGatingUtils')?.isNewsletterCreationEnabled?.() ?? true;
  if (!isEnabled) core.refuse('WHATSAPP_NOT_PERMITTED', { reason: 'WhatsApp does not let this account create channels.' });
  const channels: unknown[] = core.collections().WAWebNewsletterCollection.getModelsArray();
  const rows = channels.map((one) => core.channelRow(one));
  return { known: rows.filter((row) => row.name === name).map(({ id }) => id) };
}

/** Runs in the page. Returns the id. Refuses a picture that the browser cannot draw, before anything is created. */
async function create(core: PageCore, { name, description, file }: Given): Promise<string | null> {
  const { WWebJS } = window as unknown as PageWindow;
  const picture = file
    ? await WWebJS.cropAndResizeImage(file, { asDataUrl: true, mimetype: 'image/jpeg', size: 640 }).catch(() =>
        core.refuse('FILE_TYPE_NOT_ALLOWED', { type: file.mimetype, reason: 'The browser cannot draw this picture.' }),
      )
    : null;
  const createQuery = core.module('WAWebNewsletterCreateQueryJob').createNewsletterQuery;
  const made = await core.permitted(() => createQuery({ name, description, picture }));
  const id = core.idOf((made as { idJid?: unknown } | null)?.idJid);
  // The page does not know the picture of a new channel until it has asked for it.
  if (id && picture) await core.askPicture(core.widOf(id));
  return id;
}

/** Runs in the page. Whether the account owns the channel and the page shows its picture, if there is to be one. */
function isCreated(core: PageCore, { name, file }: Given, { known }: Before, id: string | null): boolean {
  const channels: unknown[] = core.collections().WAWebNewsletterCollection.getModelsArray();
  return channels
    .map((one) => core.channelRow(one))
    .filter((row) => file === null || row.picture !== null)
    .some((row) => (id ? row.id === id : row.name === name && !known.includes(row.id)) && row.role === 'owner');
}

/** Runs in the page. */
function newChannel(
  core: PageCore,
  { name, known, id }: { name: string; known: string[]; id: string | null },
): ChannelRow | null {
  const channels: unknown[] = core.collections().WAWebNewsletterCollection.getModelsArray();
  const rows = channels.map((one) => core.channelRow(one));
  return rows.find((row) => (id ? row.id === id : row.name === name && !known.includes(row.id)) && row.role === 'owner') ?? null;
}
