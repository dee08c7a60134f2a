/* eslint-disable @typescript-eslint/no-explicit-any -- runs in the page, see world.ts */
import type { PatchState, PageCore, PageWindow, ViewMaker } from './world.js';

/**
 * Runs in every new document before any script of WhatsApp. Installs accessors on `window.require` and `window.WWebJS` that return views of
 * modules to the library, so that WhatsApp's own code is never changed. A `function require(){}` of the page replaces the accessor
 * silently; `arm()` restores it when the page has loaded and no module has been required yet.
 */
export function installCore(): void {
  const win = window as unknown as PageWindow;
  if (win.top !== window || win.chasqui) return;
  const makers = new Map<string, { patch: string; make: ViewMaker }[]>();
  const views = new Map<string, { module: any; view: any }>();
  const wraps = new Map<string, { patch: string; wrap: (original: any) => any }[]>();
  let waiting: { patch: string; run: () => void }[] = [];
  let real: any = win.require;
  let functions: any;

  const failed = (patch: string, error: any): void => core.report(patch, 'failed', String(error?.name ?? error));

  const overlay = (name: string, module: any): Record<PropertyKey, unknown> => {
    const result: Record<PropertyKey, unknown> = {};
    for (const { patch, make } of makers.get(name) ?? []) {
      try {
        Object.assign(result, make(module));
      } catch (error) {
        failed(patch, error);
      }
    }
    return result;
  };

  // The target is an empty object, because the page freezes its exports and a Proxy may not contradict a frozen target.
  const viewOf = (name: string, module: any): any => {
    if (!makers.has(name) || module === null || module === undefined) return module;
    const cached = views.get(name);
    if (cached && cached.module === module) return cached.view;
    const over = overlay(name, module);
    const view = new Proxy(typeof module === 'function' ? function empty() {} : {}, {
      get: (_target, key) => (key in over ? over[key] : module[key]),
      set: (_target, key, value) => {
        if (key in over) over[key] = value;
        else module[key] = value;
        return true;
      },
      has: (_target, key) => key in over || key in module,
      apply: (_target, self, args) => Reflect.apply(module, self, args),
      construct: (_target, args) => new module(...args),
    });
    views.set(name, { module, view });
    return view;
  };
  const viewRequire = (name: string): any => viewOf(name, real(name));

  const wrapped = (name: string, original: any): any => {
    let result = original;
    for (const { patch, wrap } of wraps.get(name) ?? []) {
      try {
        result = wrap(result);
      } catch (error) {
        failed(patch, error);
      }
    }
    return result;
  };
  const watched = (value: any): any =>
    new Proxy(value, {
      set: (target, key, fn) => {
        target[key] = typeof fn === 'function' ? wrapped(String(key), fn) : fn;
        return true;
      },
    });

  const armRequire = (): void => {
    const found = Object.getOwnPropertyDescriptor(win, 'require');
    if (found?.get === getRequire) return;
    if (found && !found.configurable) {
      if (found.value === viewRequire) return;
      real = found.value;
      win.require = viewRequire;
      return;
    }
    if (found && 'value' in found) real = found.value;
    Object.defineProperty(win, 'require', { configurable: true, get: getRequire, set: setRequire });
  };
  const getRequire = (): any => (real ? viewRequire : undefined);
  const setRequire = (value: any): void => {
    if (value !== viewRequire) real = value;
  };

  const limits = { json: 4_194_304, text: 100_000, items: 2_048, depth: 12 };
  /** Copies a value field by field. Leaves out fields that throw, contain themselves or have no JSON form; shortens what is too long. */
  const copied = (value: any, above: unknown[], budget: { left: number }): unknown => {
    budget.left -= typeof value === 'string' ? Math.min(value.length, limits.text) : 8;
    if (budget.left < 0) return undefined;
    if (typeof value === 'string') return value.slice(0, limits.text);
    if (typeof value === 'bigint') return Number(value);
    if (typeof value !== 'object' || value === null) return typeof value === 'function' ? undefined : value;
    if (above.length >= limits.depth || above.includes(value) || ArrayBuffer.isView(value)) return undefined;
    const path = [...above, value];
    if (Array.isArray(value)) return value.slice(0, limits.items).map((item) => copied(item, path, budget) ?? null);
    const copy: Record<string, unknown> = {};
    for (const name of Object.keys(value).slice(0, limits.items)) {
      try {
        copy[name] = copied(value[name], path, budget);
      } catch {
        // This field cannot be read; the others are copied.
      }
    }
    return copy;
  };
  const plain = (value: unknown): unknown => {
    try {
      const json = JSON.stringify(value);
      if (json === undefined || json.length <= limits.json) return value;
    } catch {
      // Not serializable: it is copied as far as it can be read.
    }
    return copied(value, [], { left: limits.json });
  };

  const core: PageCore = {
    calls: {},
    patches: {},
    module: (name) => real(name),
    moduleIfAny: (name) => {
      try {
        return real(name) ?? null;
      } catch {
        // WhatsApp's require throws for a module that this build does not have: the caller asked whether it does.
        return null;
      }
    },
    view: (patch, name, make) => {
      makers.set(name, [...(makers.get(name) ?? []), { patch, make }]);
      views.delete(name);
    },
    injected: (patch, name, wrap) => {
      wraps.set(name, [...(wraps.get(name) ?? []), { patch, wrap }]);
    },
    onModules: (patch, run) => {
      waiting.push({ patch, run });
    },
    report: (patch, state: PatchState, detail = null) => {
      const before = core.patches[patch];
      // Once a patch was used it stays `mended`, unless it fails.
      if (before && (before.state === state || (before.state === 'mended' && state !== 'failed'))) return;
      core.patches[patch] = { state, detail };
      core.notify('patch', { patch, state, detail });
    },
    notify: (kind, payload) => {
      if (!win.chasquiNotify) return;
      win.chasquiNotify(kind, payload).catch((error: unknown) => console.warn('chasqui', kind, error));
    },
    arm: () => {
      armRequire();
      if (!real || !win.Debug?.VERSION) return;
      const due = waiting;
      waiting = [];
      for (const { patch, run } of due) {
        try {
          run();
        } catch (error) {
          failed(patch, error);
        }
      }
    },
    plain,
    build: () => Number(/^2\.3000\.(\d+)/.exec(win.Debug?.VERSION ?? '')?.[1] ?? 0),
    ownIds: (chatId, key) => {
      const bare = `true_${chatId}_${key}`;
      if (!/@(g\.us|broadcast)$/.test(chatId)) return [bare];
      const me = core.moduleIfAny('WAWebUserPrefsMeUser');
      const mine = [me?.getMaybeMePnUser?.(), me?.getMaybeMeLidUser?.()].filter(Boolean);
      return [bare, ...mine.map((id) => `${bare}_${core.serialized(id)}`)];
    },
    isNamedBy: (whatsappId, msg) => {
      const [fromMe, chatId, key] = whatsappId.split('_');
      if (!msg?.id || msg.id.id !== key || String(msg.id.fromMe === true) !== fromMe) return false;
      const remote = core.serialized(msg.id.remote);
      const isPerson = (id: string | undefined): boolean => /@(c\.us|lid)$/.test(id ?? '');
      return remote === chatId || (isPerson(remote) && isPerson(chatId));
    },
    serialized: (id) => (typeof id === 'string' ? id : (id?._serialized ?? id?.toString() ?? '')),
  };

  Object.defineProperty(win, 'chasqui', { value: core, configurable: true });
  armRequire();
  const early = win.WWebJS;
  Object.defineProperty(win, 'WWebJS', {
    configurable: true,
    get: () => functions,
    set: (value: any) => {
      functions = value && watched(value);
    },
  });
  if (early) {
    win.WWebJS = early;
    for (const name of Object.keys(early)) functions[name] = early[name];
  }
}
