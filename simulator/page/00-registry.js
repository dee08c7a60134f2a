// Modules as in Meta's loader: defined by name, created when first required. An unknown name throws, as in WhatsApp's
// loader, and is reported, so that a library upgrade shows which modules are missing.
const factories = new Map();
const instances = new Map();
const reported = new Set();

function __d(name, factory) {
  factories.set(name, factory);
}

function requireModule(name) {
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
const drifted = is('2026-07', '2026-09');
const newest = is('2026-09');

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
