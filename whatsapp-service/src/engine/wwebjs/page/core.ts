/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see script.ts */
import { pageScript } from './script.js';
import type { PageCore, PageGroups, PageOperating, PageStories, PageTools, PageWindow, PatchState, ViewMaker } from './world.js';

interface CoreContext {
  win: PageWindow;
  core: PageCore;
  /** The properties that patches add to a module, by module name. */
  makers: Map<string, { patch: string; make: ViewMaker }[]>;
  /** The views made so far, each with the module that it belongs to. */
  views: Map<string, { module: any; view: any }>;
  /** The wrappers of patches around a function of the library, by function name. */
  wraps: Map<string, { patch: string; wrap: (original: any) => any }[]>;
  /** Patches that wait for the page's modules. */
  waiting: { patch: string; run: () => void }[];
  /** WhatsApp's own `require`; undefined until the page has set it. */
  real: any;
  /** The replacement of `require` that the library calls. */
  viewRequire: (name: string) => any;
  /** The accessor of `window.require`. */
  accessor: { get: () => any; set: (value: any) => void };
}

/**
 * Runs in every new document before any script of WhatsApp. Installs accessors on `window.require` and `window.WWebJS` that return views of
 * modules to the library, so that WhatsApp's own code is never changed. A `function require(){}` of the page replaces the accessor
 * silently; `arm()` restores it when the page has loaded and no module has been required yet.
 */
function installCore(): void {
  const win = window as unknown as PageWindow;
  if (win.top !== window || win.chasqui) return;
  const context: CoreContext = {
    win,
    // `tools.ts`, `operate.ts`, `groups.ts` and `story.ts` run next and add their parts before any other code can use them.
    core: { calls: {}, patches: {} } as unknown as PageCore,
    makers: new Map(),
    views: new Map(),
    wraps: new Map(),
    waiting: [],
    real: win.require,
    viewRequire: (name) => viewOf(context, name, requireReal(context, name)),
    accessor: {
      get: () => (context.real ? context.viewRequire : undefined),
      set: (value) => {
        if (value !== context.viewRequire) context.real = value;
      },
    },
  };
  const verbs: Omit<
    PageCore,
    keyof PageTools | keyof PageOperating | keyof PageGroups | keyof PageStories | 'calls' | 'patches'
  > = {
    module: (name) => requireReal(context, name),
    moduleIfAny: (name) => moduleIfAny(context, name),
    view: (patch, name, make) => {
      context.makers.set(name, [...(context.makers.get(name) ?? []), { patch, make }]);
      context.views.delete(name);
    },
    injected: (patch, name, wrap) => void context.wraps.set(name, [...(context.wraps.get(name) ?? []), { patch, wrap }]),
    onModules: (patch, run) => void context.waiting.push({ patch, run }),
    report: (patch, state, detail = null) => reportPatch(context, patch, state, detail),
    notify: (kind, payload) => {
      if (!win.chasquiNotify) return;
      win.chasquiNotify(kind, payload).catch((error: unknown) => console.warn('chasqui', kind, error));
    },
    arm: () => arm(context),
  };
  Object.assign(context.core, verbs);
  Object.defineProperty(win, 'chasqui', { value: context.core, configurable: true });
  armRequire(context);
  watchLibrary(context);
}

/** Calls WhatsApp's own `require` as the page does: as a function, not as a method of an object of ours. */
function requireReal({ real }: CoreContext, name: string): any {
  return real(name);
}

function moduleIfAny(context: CoreContext, name: string): any {
  try {
    return requireReal(context, name) ?? null;
  } catch {
    // WhatsApp's require throws for a module that this build does not have, and the caller asks whether it has it.
    return null;
  }
}

function reportPatch({ core }: CoreContext, patch: string, state: PatchState, detail: string | null): void {
  const before = core.patches[patch];
  // A patch that has been used stays `corrected`, unless it fails.
  if (before && (before.state === state || (before.state === 'corrected' && state !== 'failed'))) return;
  core.patches[patch] = { state, detail };
  core.notify('patch', { patch, state, detail });
}

function reportFailed({ core }: CoreContext, patch: string, error: any): void {
  core.report(patch, 'failed', String(error?.name ?? error));
}

/** The properties that the patches add to a module. A patch that throws is reported and left out. */
function overlayOf(context: CoreContext, name: string, module: any): Record<PropertyKey, unknown> {
  const result: Record<PropertyKey, unknown> = {};
  for (const { patch, make } of context.makers.get(name) ?? []) {
    try {
      Object.assign(result, make(module));
    } catch (error) {
      reportFailed(context, patch, error);
    }
  }
  return result;
}

function viewOf(context: CoreContext, name: string, module: any): any {
  if (!context.makers.has(name) || module === null || module === undefined) return module;
  const cached = context.views.get(name);
  if (cached && cached.module === module) return cached.view;
  const overlay = overlayOf(context, name, module);
  // Without additions the library gets the module itself, whose keys it can list.
  if (Reflect.ownKeys(overlay).length === 0) {
    context.views.set(name, { module, view: module });
    return module;
  }
  // The target is an empty object, because the page freezes its exports and a Proxy may not contradict a frozen target.
  const view = new Proxy(typeof module === 'function' ? function empty() {} : {}, {
    get: (_target, key) => (key in overlay ? overlay[key] : module[key]),
    set: (_target, key, value) => {
      if (key in overlay) overlay[key] = value;
      else module[key] = value;
      return true;
    },
    has: (_target, key) => key in overlay || key in module,
    apply: (_target, self, args) => Reflect.apply(module, self, args),
    construct: (_target, args) => new module(...args),
  });
  context.views.set(name, { module, view });
  return view;
}

/** Makes `window.require` return the views, whether the page has declared it as a function, has set it, or has not set it yet. */
function armRequire(context: CoreContext): void {
  const { win, accessor, viewRequire } = context;
  const found = Object.getOwnPropertyDescriptor(win, 'require');
  if (found?.get === accessor.get) return;
  if (found && !found.configurable) {
    if (found.value === viewRequire) return;
    context.real = found.value;
    win.require = viewRequire;
    return;
  }
  if (found && 'value' in found) context.real = found.value;
  Object.defineProperty(win, 'require', { configurable: true, ...accessor });
}

/** Runs the patches that wait for the page's modules. A patch that throws does not stop the others. */
function arm(context: CoreContext): void {
  armRequire(context);
  if (!context.real || !context.win.Debug?.VERSION) return;
  for (const { patch, run } of context.waiting.splice(0)) {
    try {
      run();
    } catch (error) {
      reportFailed(context, patch, error);
    }
  }
}

/** Wraps each function that the library sets on `window.WWebJS`. */
function watchLibrary(context: CoreContext): void {
  const { win } = context;
  let functions: any;
  const early = win.WWebJS;
  Object.defineProperty(win, 'WWebJS', {
    configurable: true,
    get: () => functions,
    set: (value: any) => {
      functions =
        value &&
        new Proxy(value, {
          set: (target, key, fn) => {
            target[key] = typeof fn === 'function' ? wrapped(context, String(key), fn) : fn;
            return true;
          },
        });
    },
  });
  if (!early) return;
  win.WWebJS = early;
  for (const name of Object.keys(early)) functions[name] = early[name];
}

function wrapped(context: CoreContext, name: string, original: any): any {
  let result = original;
  for (const { patch, wrap } of context.wraps.get(name) ?? []) {
    try {
      result = wrap(result);
    } catch (error) {
      reportFailed(context, patch, error);
    }
  }
  return result;
}

export const coreScript = pageScript(installCore, [
  requireReal,
  moduleIfAny,
  reportPatch,
  reportFailed,
  overlayOf,
  viewOf,
  armRequire,
  arm,
  watchLibrary,
  wrapped,
]);
