// Modules as in Meta's loader: defined by name, created when first required. An unknown name throws, as in WhatsApp's
// loader, and is reported, so that a library upgrade shows which modules are missing.
const factories = new Map();
const instances = new Map();
const reported = new Set();
/** Modules that a test has taken away. */
let withheld = new Set(options.without);

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
  return exports;
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
  window.Bootloader = {
    loadModules(names, done) {
      const unknown = names.find((name) => !components.has(name));
      if (unknown) throw new Error(`Bootloader: unknown component "${unknown}"`);
      setTimeout(() => {
        for (const name of names) for (const [module, factory] of components.get(name)) __d(module, factory);
        done();
      }, 25);
    },
  };

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
