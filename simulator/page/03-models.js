// Models with attributes and events, and collections that receive the events of their models.
class Emitter {
  // Created with the first listener: most models never have one.
  #listeners = null;
  on(names, listener) {
    this.#listeners ??= new Map();
    for (const name of names.split(' ')) this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return this;
  }
  off(names, listener) {
    for (const name of names.split(' ')) {
      const left = (this.#listeners?.get(name) ?? []).filter((other) => other !== listener && other.inner !== listener);
      this.#listeners?.set(name, left);
    }
    return this;
  }
  once(name, listener) {
    const wrapped = (...args) => {
      this.off(name, wrapped);
      listener(...args);
    };
    wrapped.inner = listener;
    return this.on(name, wrapped);
  }
  /** Forgets all listeners. */
  forget() {
    this.#listeners = null;
  }
  hears(name) {
    return (this.#listeners?.get(name) ?? []).length > 0;
  }
  trigger(name, ...args) {
    for (const listener of this.#listeners?.get(name) ?? []) {
      try {
        listener(...args);
      } catch (error) {
        console.error(error);
      }
    }
  }
}

class Model extends Emitter {
  #collections = [];
  constructor(attributes = {}) {
    super();
    Object.assign(this, attributes);
  }
  joined(collection) {
    this.#collections.push(collection);
  }
  left(collection) {
    this.#collections = this.#collections.filter((other) => other !== collection);
  }
  set(changes, value) {
    const given = typeof changes === 'string' ? { [changes]: value } : changes;
    const changed = [];
    for (const [name, next] of Object.entries(given)) {
      const previous = this[name];
      if (previous === next) continue;
      this[name] = next;
      changed.push([name, next, previous]);
    }
    for (const [name, next, previous] of changed) this.#tell(`change:${name}`, this, next, previous);
    if (changed.length > 0) this.#tell('change', this);
    return this;
  }
  #tell(name, ...args) {
    this.trigger(name, ...args);
    for (const collection of this.#collections) collection.trigger(name, ...args);
  }
  serialize() {
    return Object.fromEntries(
      Object.entries(this).filter(
        ([name, value]) => typeof value !== 'function' && !(value instanceof Emitter) && !name.startsWith('_'),
      ),
    );
  }
  toJSON() {
    return this.serialize();
  }
}

const idOf = (id) =>
  String(typeof id === 'object' && !(id instanceof Wid) && !(id instanceof MsgKey) ? (id._serialized ?? id.$1) : id);

class Collection extends Emitter {
  #load;
  constructor(Class = Model, load = async () => null) {
    super();
    this.modelClass = Class;
    this.models = new Map();
    this.#load = load;
  }
  get(id) {
    return id === undefined || id === null ? undefined : this.models.get(idOf(id));
  }
  add(model, { silent = false } = {}) {
    const made = model instanceof this.modelClass ? model : new this.modelClass(model);
    const known = this.get(made.id);
    if (known === made) return made;
    if (known) return known.set({ ...made.serialize() });
    made.joined(this);
    this.models.set(String(made.id), made);
    if (!silent) this.trigger('add', made);
    return made;
  }
  gadd(id) {
    return this.get(id) ?? this.add({ id: createWid(id) });
  }
  remove(id) {
    const model = this.get(id?.id ?? id);
    if (!model) return;
    this.models.delete(String(model.id));
    this.trigger('remove', model);
    model.left(this);
  }
  async find(id) {
    const known = this.get(id);
    if (known) return known;
    const loaded = await this.#load(createWid(id));
    if (!loaded) throw new r('not found', 404);
    return this.add(loaded);
  }
  getModelsArray() {
    return [...this.models.values()];
  }
  filter(test) {
    return this.getModelsArray().filter(test);
  }
  get length() {
    return this.models.size;
  }
  get _models() {
    return this.getModelsArray();
  }
  serialize() {
    return this.getModelsArray().map((model) => model.serialize());
  }
}
