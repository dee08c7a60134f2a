import type { Page } from 'puppeteer';
import { DeadlineError, within } from './deadline.js';
import type { PageCore } from './page/world.js';

/** An error that the page threw, with the fields that CDP omits. Without them, errors of WhatsApp's own classes arrive as `r: r`. */
export class PageError extends Error {
  constructor(
    readonly pageName: string,
    message: string,
    readonly status: number | null,
    readonly build: string | null,
    /** Set if our own code in the page refused; see `PageOperating.refuse`. */
    readonly refusal: { code: string; details: Record<string, unknown> } | null = null,
  ) {
    super(message);
    this.name = 'PageError';
  }
}

/** The page ended, or was loaded again, before it answered: it is unknown what it did. */
export class PageGone extends PageError {
  constructor(cause: unknown) {
    super('PageGone', cause instanceof Error ? cause.message : String(cause), null, null);
    this.name = 'PageGone';
    this.cause = cause;
  }
}

/** What the page throws arrives as a `PageError`; any other failure of a call is that of the connection to the page. */
function asPageError(error: unknown): never {
  throw error instanceof PageError || error instanceof DeadlineError ? error : new PageGone(error);
}

/** Whether the error is a refusal: of WhatsApp's server by a status, of our own code in the page by a code, or of the page by a thrown text. */
export const isRefusal = ({ pageName, status, refusal }: PageError): boolean =>
  refusal !== null || (status !== null ? status >= 400 && status < 500 : pageName === 'String');

interface Caught {
  failed: {
    name: string;
    message: string;
    stack: string;
    status: number | null;
    build: string | null;
    refusal: PageError['refusal'];
  };
}

/**
 * Wraps `evaluate` and `exposeFunction`, through which all data between Node and the page passes. Ids that leave the page get their
 * `_serialized`, which JSON and CDP omit (they copy own properties, and in newer builds it is a getter). Errors get their message.
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
        const { name, message, stack, status, build, refusal } = result.failed;
        throw Object.assign(new PageError(name, message, status, build, refusal), { stack });
      }
      return complete(result.value);
    },
    exposeFunction: (name: string, fn: (...args: unknown[]) => unknown): Promise<void> =>
      expose(name, (...args) => fn(...args.map(complete))),
  };
  Object.assign(page, bridged);
}

const compiled = new Map<string, (...args: unknown[]) => unknown>();

/** Wraps a function in a try/catch that runs in the page. Built from its source text, because puppeteer sends functions as text. */
function catching(source: string): (...args: unknown[]) => unknown {
  const cached = compiled.get(source);
  if (cached) return cached;
  // A method (`name(a) {}`) is not an expression; the library passes only arrow functions and functions.
  const build = new Function(`return async (...args) => {
    try {
      return { value: await (${source})(...args) };
    } catch (error) {
      const texts = [error?.message, error?.detail].filter((text) => typeof text === 'string' && text.length > 1);
      return { failed: {
        name: String(error?.name ?? error?.constructor?.name ?? 'Error'),
        message: texts.join(': ') || String(error),
        stack: String(error?.stack ?? ''),
        status: Number.isInteger(error?.status) ? error.status : null,
        build: window.Debug?.VERSION ?? null,
        refusal: error?.chasquiRefusal ?? null,
      } };
    }
  }`) as () => (...args: unknown[]) => unknown;
  const fn = build();
  compiled.set(source, fn);
  return fn;
}

/**
 * Adds `_serialized` to every id that lacks it, in place. Returns whether it added one. Not recursive: the data comes from outside, and deep
 * nesting must not overflow the stack.
 */
export function addSerialized(value: unknown): boolean {
  // Parents come before their children, so in reverse order the parts of an id are complete before the id.
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

/** Calls one of the functions that `page/` installs in the page. Throws `DeadlineError`, and `PageGone` if the page ends meanwhile. */
export async function callPage<T>(page: Page, name: string, input: unknown, deadlineMs: number): Promise<T> {
  const run = (call: string, argument: unknown): unknown => {
    const core = (window as unknown as { chasqui?: { calls: Record<string, (input: unknown) => unknown> } }).chasqui;
    const fn = core?.calls[call];
    if (!fn) throw new Error(`The page has no ${call} yet.`);
    return fn(argument);
  };
  const called = page.evaluate(run as never, name as never, input as never) as Promise<T>;
  return within(called.catch(asPageError), deadlineMs, `The page call ${name}`);
}

/**
 * Runs a function in the page. It receives `window.chasqui` and the values of `given`, which are passed as JSON. The function is sent as source
 * text, so it may use only its arguments and what a browser has: no imports, and nothing else from its file. Throws `DeadlineError`, and `PageGone`
 * if the page ends meanwhile.
 */
export async function runInPage<Given extends unknown[], Output>(
  page: Page,
  run: (core: PageCore, ...given: Given) => Output,
  given: Given,
  deadlineMs: number,
): Promise<Awaited<Output>> {
  const evaluated = page.evaluate(withCore(run as unknown as PageFunction) as never, ...(given as unknown as never[])) as Promise<
    Awaited<Output>
  >;
  return within(evaluated.catch(asPageError), deadlineMs, `The page function ${run.name}`);
}

type PageFunction = (core: PageCore, ...given: never[]) => unknown;
const prepared = new WeakMap<PageFunction, (...given: unknown[]) => unknown>();

/** Returns a function for the page that adds `window.chasqui` to the arguments. Built from source text, because a closure does not exist there. */
function withCore(run: PageFunction): (...given: unknown[]) => unknown {
  const cached = prepared.get(run);
  if (cached) return cached;
  const build = new Function(`return (...given) => {
    if (!window.chasqui) throw new Error('The page is not ready for ${run.name} yet.');
    return (${String(run)})(window.chasqui, ...given);
  }`) as () => (...given: unknown[]) => unknown;
  const fn = build();
  prepared.set(run, fn);
  return fn;
}
