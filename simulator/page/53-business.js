// Labels and notes of business accounts.
class LabelModel extends Model {
  get hexColor() {
    return this.color;
  }
  get isActive() {
    return true;
  }
  get labelItemCollection() {
    const items = this.chats.map((chat) => ({ parentType: 'Chat', parentId: chat }));
    return { getModelsArray: () => items };
  }
}
const Label = new Collection(LabelModel);
function applyLabel({ id, name, color, colorIndex, chats }) {
  return (Label.get(id) ?? Label.add(new LabelModel({ id, chats: [] }))).set({ name, color, colorIndex, chats });
}
line.on('labels', (labels) => {
  for (const known of Label.getModelsArray()) if (!labels.some(({ id }) => id === known.id)) Label.remove(known);
  labels.forEach(applyLabel);
});
/** Since the end of July 2026 the function that deletes takes one object. */
__d('WAWebBizLabelEditingAction', () => ({
  async labelAddAction(name, colorIndex) {
    const label = await line.request('label_add', { name, colorIndex });
    applyLabel(label);
    return label.id;
  },
  async labelEditAction(id, name, _predefinedId, colorIndex, isActive) {
    if (typeof name !== 'string' || !isActive) throw new r('bad label', 400);
    applyLabel(await line.request('label_edit', { id, name, colorIndex }));
  },
  async labelDeleteAction(given, name) {
    const id = newest ? given.labelId : given;
    if (typeof id !== 'string' || (newest ? given.name : name) === undefined) throw new r('bad label', 400);
    await line.request('label_delete', { id });
    Label.remove(id);
  },
}));
/** `actions` lists all labels that the chats get, and those that are removed. */
Label.addOrRemoveLabels = async (actions, chats) => {
  const labels = actions.filter(({ type }) => type === 'add').map(({ id }) => id);
  for (const chat of chats) {
    const id = String(chat.id);
    await line.request('label_assign', { chat: id, labels });
    for (const label of Label.getModelsArray()) {
      const others = label.chats.filter((other) => other !== id);
      label.set({ chats: labels.includes(label.id) ? [...others, id] : others });
    }
  }
};

__d('WAWebBizGatingUtils', () => ({ smbNotesV1Enabled: () => String(Conn.platform).startsWith('smb') }));
__d('WAWebNoteAction', () => ({
  noteAddAction: (type, jid, text) => line.request('note_set', { chat: fromJid(jid), text }),
  async retrieveOnlyNoteForChatJid(jid) {
    const note = await line.request('note_get', { chat: fromJid(jid) });
    return (
      note &&
      new Model({ id: String(jid), chatJid: String(jid), noteType: 'unstructured', content: note.text, modifiedAt: note.t })
    );
  },
}));
