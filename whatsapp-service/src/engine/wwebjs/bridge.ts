import type { Page } from 'puppeteer';
import { within } from './deadline.js';

/** An error as the page threw it, with what CDP leaves out: WhatsApp's own classes arrive as `r: r` otherwise. */
export class PageError extends Error {
  constructor(
    readonly pageName: string,
    message: string,
    readonly status: number | null,
    readonly build: string | null,
  ) {
    super(message);
    this.name = 'PageError';
  }
}

interface Caught {
  failed: { name: string; message: string; stack: string; status: number | null; build: string | null };
}

/**
 * Everything between Node and the page goes through here, because the library crosses nowhere but in `evaluate` and
 * `exposeFunction`. Coming out, ids get the `_serialized` that JSON and CDP leave behind (they copy own properties, and on
 * drifted builds it is a getter); errors get their words.
 */
export function installBridge(page: Page, onDefectMet: () => void): void {
  const evaluate = page.evaluate.bind(page) as (fn: unknown, ...args: unknown[]) => Promise<unknown>;
  const expose = page.exposeFunction.bind(page) as (name: string, fn: (...args: unknown[]) => unknown) => Promise<void>;
  const complete = (value: unknown): unknown => {
    if (addSerialized(value)) onDefectMet();
    return value;
  };
  const bridged = {
    evaluate: async (fn: unknown, ...args: unknown[]): Promise<unknown> => {
      if (typeof fn !== 'function') return complete(await evaluate(fn, ...args));
      const result = (await evaluate(catching(String(fn)), ...args)) as { value?: unknown } | Caught;
      if ('failed' in result) {
        const { name, message, stack, status, build } = result.failed;
        throw Object.assign(new PageError(name, message, status, build), { stack });
      }
      return complete(result.value);
    },
    exposeFunction: (name: string, fn: (...args: unknown[]) => unknown): Promise<void> =>
      expose(name, (...args) => fn(...args.map(complete))),
  };
  Object.assign(page, bridged);
}

const compiled = new Map<string, (...args: unknown[]) => unknown>();

/** The same function, with a catch around it that runs in the page. Built from its source text, as puppeteer itself sends it. */
function catching(source: string): (...args: unknown[]) => unknown {
  const known = compiled.get(source);
  if (known) return known;
  // Methods (`name(a) {}`) are no expressions; the library passes arrows and functions only.
  const made = new Function(`return async (...args) => {
    try {
      return { value: await (${source})(...args) };
    } catch (error) {
      const words = [error?.message, error?.detail].filter((text) => typeof text === 'string' && text.length > 1);
      return { failed: {
        name: String(error?.name ?? error?.constructor?.name ?? 'Error'),
        message: words.join(': ') || String(error),
        stack: String(error?.stack ?? ''),
        status: Number.isInteger(error?.status) ? error.status : null,
        build: window.Debug?.VERSION ?? null,
      } };
    }
  }`) as () => (...args: unknown[]) => unknown;
  const fn = made();
  compiled.set(source, fn);
  return fn;
}

/**
 * Rebuilds `_serialized` from the parts of every id that lacks it, in place. Returns whether one did. Without recursion: the data comes from
 * outside, and its depth must not decide over the stack.
 */
export function addSerialized(value: unknown): boolean {
  // Parents come before their children, so that the reverse order has every id's parts complete before the id itself.
  const objects: Record<string, unknown>[] = [];
  const push = (candidate: unknown): void => {
    if (typeof candidate === 'object' && candidate !== null) objects.push(candidate as Record<string, unknown>);
  };
  push(value);
  for (let index = 0; index < objects.length; index += 1) for (const inner of Object.values(objects[index]!)) push(inner);
  let added = false;
  for (const fields of objects.reverse()) {
    if (Array.isArray(fields) || typeof fields['_serialized'] === 'string') continue;
    const written = writtenId(fields);
    if (written === null) continue;
    fields['_serialized'] = written;
    added = true;
  }
  return added;
}

function writtenId(fields: Record<string, unknown>): string | null {
  const { user, server, fromMe, remote, id, participant } = fields;
  if (typeof user === 'string' && typeof server === 'string') return `${user}@${server}`;
  if (typeof fromMe !== 'boolean' || typeof id !== 'string' || remote === undefined) return null;
  const text = (part: unknown): string =>
    typeof part === 'string' ? part : String((part as { _serialized?: unknown })._serialized);
  return [fromMe, text(remote), id, ...(participant ? [text(participant)] : [])].join('_');
}

/** Calls one of our own functions in the page (see `page/`), with our own deadline. */
export async function callPage<T>(page: Page, name: string, input: unknown, deadlineMs: number): Promise<T> {
  const run = (call: string, given: unknown): unknown => {
    const core = (window as unknown as { chasqui?: { calls: Record<string, (input: unknown) => unknown> } }).chasqui;
    const fn = core?.calls[call];
    if (!fn) throw new Error(`The page has no ${call} yet.`);
    return fn(given);
  };
  return within(page.evaluate(run as never, name as never, input as never) as Promise<T>, deadlineMs, `The page call ${name}`);
}
