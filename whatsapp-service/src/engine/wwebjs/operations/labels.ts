/* eslint-disable @typescript-eslint/no-explicit-any -- the functions that take the page's core run in the page */
import type { LabelResource } from '@chasqui/shared';
import type { PageCore } from '../page/world.js';
import { change } from './change.js';
import { readChats, readingChats } from './chat-rows.js';
import { need, read, type OperationContext, type OperationHandlers } from './context.js';

const reading = [need('WAWebCollections', 'Label.getModelsArray'), need('WAWebConnModel')];
const editing = (name: string) => [need('WAWebBizLabelEditingAction', name), ...reading];

export const labels: OperationHandlers<'labels'> = {
  'labels.list': read('labels.list', {
    needs: reading,
    run: (_, { inPage }) => inPage(labelRows, {}),
  }),
  'labels.get': read('labels.get', { needs: reading, run: readLabel }),
  'labels.chats': read('labels.chats', {
    needs: [...reading, ...readingChats],
    run: async ({ labelId }, context) => readChats({ ids: await context.inPage(chatsOf, { labelId }) }, context),
  }),
  'labels.ofChat': read('labels.ofChat', {
    needs: [...reading, need('WAWebCollections', 'Chat.get')],
    run: ({ chatId }, { inPage }) => inPage(labelRows, { chatId }),
  }),
  'labels.create': change('labels.create', {
    needs: editing('labelAddAction'),
    before: labelIds,
    act: addLabel,
    effect: hasNewLabel,
    done: async ({ name, colorIndex }, { inPage }, { before, result }) => {
      const all = await inPage(labelRows, {});
      const fresh = all.filter(({ id }) => !before.includes(id));
      const created = fresh.find(({ id }) => id === result?.id) ?? fresh.find((one) => one.name === name) ?? fresh[0];
      return created ?? { id: result!.id, name, color: null, colorIndex };
    },
  }),
  'labels.edit': change('labels.edit', {
    needs: editing('labelEditAction'),
    before: requireLabel,
    act: editLabel,
    effect: isEdited,
    done: readLabel,
  }),
  'labels.delete': change('labels.delete', {
    needs: editing('labelDeleteAction'),
    before: requireLabel,
    act: deleteLabel,
    effect: isGone,
    done: async ({ labelId }) => ({ id: labelId, deleted: true as const }),
  }),
  'labels.assign': change('labels.assign', {
    needs: [...reading, need('WAWebCollections', 'Label.addOrRemoveLabels', 'Chat.get')],
    before: requireLabels,
    act: assign,
    effect: hasLabels,
    done: ({ chatId }, { inPage }) => inPage(labelRows, { chatId }),
  }),
};

async function readLabel({ labelId }: { labelId: string }, { inPage }: OperationContext): Promise<LabelResource> {
  return (await inPage(labelRows, { labelId }))[0]!;
}

interface LabelSelection {
  labelId?: string;
  chatId?: string;
}

/** Runs in the page. Returns all labels, one, or those of a chat. Refuses on personal accounts, which have none. */
function labelRows(core: PageCore, { labelId, chatId }: LabelSelection): LabelResource[] {
  if (!/^smb/.test(String(core.module('WAWebConnModel').Conn.platform)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'Labels exist on business accounts only.' });
  const { Label } = core.collections();
  const row = (label: any): LabelResource => ({
    id: String(label.id),
    name: String(label.name ?? ''),
    color: typeof label.hexColor === 'string' ? label.hexColor : null,
    colorIndex: Number.isInteger(label.colorIndex) ? label.colorIndex : null,
  });
  if (labelId !== undefined) return [row(Label.get(labelId) ?? core.refuse('LABEL_NOT_FOUND', { labelId }))];
  if (chatId === undefined) return Label.getModelsArray().map(row);
  const ids: unknown[] = core.requireChat(chatId).labels ?? [];
  return ids.flatMap((id) => Label.get(String(id)) ?? []).map(row);
}

/** Runs in the page. Returns the ids of the loaded chats that have the label. */
function chatsOf(core: PageCore, { labelId }: { labelId: string }): string[] {
  if (!/^smb/.test(String(core.module('WAWebConnModel').Conn.platform)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'Labels exist on business accounts only.' });
  const label = core.collections().Label.get(labelId) ?? core.refuse('LABEL_NOT_FOUND', { labelId });
  return label.labelItemCollection
    .getModelsArray()
    .filter((item: any) => item.parentType === 'Chat')
    .map((item: any) => core.serialized(item.parentId))
    .filter((id: string) => core.chatOf(id));
}

/** Runs in the page. */
function labelIds(core: PageCore): string[] {
  if (!/^smb/.test(String(core.module('WAWebConnModel').Conn.platform)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'Labels exist on business accounts only.' });
  return core
    .collections()
    .Label.getModelsArray()
    .map((label: any) => String(label.id));
}

/** Runs in the page. */
async function addLabel(core: PageCore, { name, colorIndex }: { name: string; colorIndex: number }): Promise<{ id: string }> {
  return { id: String(await core.module('WAWebBizLabelEditingAction').labelAddAction(name, colorIndex)) };
}

/** Runs in the page. */
function hasNewLabel(core: PageCore, { name }: { name: string }, before: string[]): boolean {
  const all: any[] = core.collections().Label.getModelsArray();
  return all.some((label) => !before.includes(String(label.id)) && label.name === name);
}

interface OfLabel {
  labelId: string;
}

/** Runs in the page. */
function requireLabel(core: PageCore, { labelId }: OfLabel): null {
  if (!/^smb/.test(String(core.module('WAWebConnModel').Conn.platform)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'Labels exist on business accounts only.' });
  if (!core.collections().Label.get(labelId)) core.refuse('LABEL_NOT_FOUND', { labelId });
  return null;
}

interface Edited extends OfLabel {
  name?: string | undefined;
  colorIndex?: number | undefined;
}

/** Runs in the page. WhatsApp's function takes the whole label, so unchanged fields are passed too. */
async function editLabel(core: PageCore, { labelId, name, colorIndex }: Edited): Promise<void> {
  const label = core.collections().Label.get(labelId);
  const { labelEditAction } = core.module('WAWebBizLabelEditingAction');
  const { predefinedId, isActive = true, type } = label;
  await labelEditAction(label.id, name ?? label.name, predefinedId, colorIndex ?? label.colorIndex, isActive, type);
}

/** Runs in the page. */
function isEdited(core: PageCore, { labelId, name, colorIndex }: Edited): boolean {
  const label = core.collections().Label.get(labelId);
  return (name === undefined || label.name === name) && (colorIndex === undefined || label.colorIndex === colorIndex);
}

/** Runs in the page. Builds since the end of July 2026 take one object, earlier ones three arguments. */
async function deleteLabel(core: PageCore, { labelId }: OfLabel): Promise<void> {
  const { id, name, colorIndex } = core.collections().Label.get(labelId);
  const { labelDeleteAction } = core.module('WAWebBizLabelEditingAction');
  const takesObject = core.build() >= 1_044_000_000;
  await (takesObject ? labelDeleteAction({ labelId: id, name, color: colorIndex }) : labelDeleteAction(id, name, colorIndex));
}

/** Runs in the page. */
function isGone(core: PageCore, { labelId }: OfLabel): boolean {
  return !core.collections().Label.get(labelId);
}

interface Assigned {
  chatId: string;
  labelIds: string[];
}

/** Runs in the page. */
function requireLabels(core: PageCore, { chatId, labelIds }: Assigned): null {
  if (!/^smb/.test(String(core.module('WAWebConnModel').Conn.platform)))
    core.refuse('NOT_SUPPORTED_BY_WHATSAPP', { reason: 'Labels exist on business accounts only.' });
  core.requireChat(chatId);
  for (const labelId of labelIds) if (!core.collections().Label.get(labelId)) core.refuse('LABEL_NOT_FOUND', { labelId });
  return null;
}

/** Runs in the page. WhatsApp's function takes all labels that the chat is to have, including its present ones, and those that it loses. */
async function assign(core: PageCore, { chatId, labelIds }: Assigned): Promise<void> {
  const { Label } = core.collections();
  const chat = core.requireChat(chatId);
  const lost = (chat.labels ?? []).map(String).filter((id: string) => !labelIds.includes(id));
  const actions = [
    ...[...new Set(labelIds)].map((id) => ({ id: Label.get(id).id, type: 'add' })),
    ...lost.map((id: string) => ({ id: Label.get(id)?.id ?? id, type: 'remove' })),
  ];
  if (actions.length > 0) await Label.addOrRemoveLabels(actions, [chat]);
}

/** Runs in the page. */
function hasLabels(core: PageCore, { chatId, labelIds }: Assigned): boolean {
  const present = new Set<string>((core.requireChat(chatId).labels ?? []).map(String));
  return present.size === new Set(labelIds).size && labelIds.every((id) => present.has(id));
}
