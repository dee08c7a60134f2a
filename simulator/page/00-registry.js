// Modules as in Meta's loader: defined by name, created when first required. An unknown name throws, as in WhatsApp's
// loader, and is reported, so that a library upgrade shows which modules are missing.
const factories = new Map();
const instances = new Map();
const reported = new Set();
/** Modules that a test has taken away. */
let withheld = new Set(options.without);
/** Functions that a test has made hollow: by module, their paths in its exports. */
let hollowed = new Map(Object.entries(options.hollow));
/** Gives each function back that is hollow now. */
const restores = [];

function __d(name, factory) {
  factories.set(name, factory);
}

function requireModule(name) {
  if (withheld.has(name)) throw new Error(`Requiring unknown module "${name}"`);
  if (instances.has(name)) return instances.get(name);
  const factory = factories.get(name);
  if (!factory) {
    if (!reported.has(name)) {
      reported.add(name);
      line.request('missing', { module: name }).catch(() => {});
    }
    throw new Error(`Requiring unknown module "${name}"`);
  }
  const exports = factory();
  instances.set(name, exports);
  for (const path of hollowed.get(name) ?? []) makeHollow(name, exports, path);
  return exports;
}

/** Replaces a function by one that resolves and does nothing. The server is told of each call, so that a test knows that it was reached. */
function makeHollow(name, exports, path) {
  const at = path.split('.');
  const key = at.pop();
  const holder = at.reduce((found, part) => found?.[part], exports);
  if (typeof holder?.[key] !== 'function') return console.error(`${name} has no function ${path}`);
  const own = Object.getOwnPropertyDescriptor(holder, key);
  const value = () => {
    line.request('hollow', { name: `${name}.${path}` }).catch(() => {});
    const nothing = Promise.resolve();
    // Sending returns two promises, which its callers take apart.
    return Object.assign(nothing, { 0: nothing, 1: nothing, [Symbol.iterator]: () => [nothing, nothing][Symbol.iterator]() });
  };
  Object.defineProperty(holder, key, { value, configurable: true, writable: true, enumerable: true });
  restores.push(() => (own ? Object.defineProperty(holder, key, own) : delete holder[key]));
}

/** Makes these functions hollow, and gives those back that were hollow before. */
function setHollow(functions) {
  for (const restore of restores.splice(0).reverse()) restore();
  hollowed = new Map(Object.entries(functions));
  for (const [name, paths] of hollowed) {
    if (!instances.has(name) && factories.has(name)) requireModule(name);
    else for (const path of instances.has(name) ? paths : []) makeHollow(name, instances.get(name), path);
  }
}
window.require = requireModule;
window.__d = __d;
window.Debug = { VERSION: options.version };

const is = (...builds) => builds.includes(options.build);
const drifted = is('2026-07', '2026-09', '2026-09b');
const newest = is('2026-09', '2026-09b');
/** Modules that few people use are not in the first bundle. */
const lazy = is('2026-09b');

// Components bring modules when they are loaded. On builds that are not lazy, all modules are in the first bundle.
const components = new Map();
function __lazy(component, name, factory) {
  if (!lazy) return __d(name, factory);
  components.set(component, [...(components.get(component) ?? []), [name, factory]]);
}
if (lazy)
  __d('Bootloader', () => ({
    loadModules(names, done) {
      const unknown = names.find((name) => !components.has(name));
      if (unknown) throw new Error(`Bootloader: unknown component "${unknown}"`);
      setTimeout(() => {
        for (const name of names) for (const [module, factory] of components.get(name)) __d(module, factory);
        done();
      }, 25);
    },
  }));

// WhatsApp's own errors are instances of classes with one-letter names: they arrive as `r: r`.
class r extends Error {
  constructor(message, status) {
    super(newest ? 'r' : message);
    this.name = newest ? 'r' : 'ServerStatusCodeError';
    this.status = status;
    this.detail = message;
  }
}

/** Fails as current builds do according to reports, unless the switch is set. */
function refusedByBuild() {
  return newest && !options.groupsWork;
}

window.__ballast = new Uint8Array(options.ballastMb * 1024 * 1024).fill(1);
