import { parseAddress, phoneOf, type Contact } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';
import type { Described } from './page/contacts.js';

interface CacheEntry extends Described {
  /** On the monotonic clock. */
  readAt: number;
}

const deadlineMs = 5_000;
const maxName = 256;
/** The maximum number of cached contacts and chats. The oldest entries are removed first. */
const maxEntries = 20_000;
/** After this time an entry is read from the page again. The page reports most changes itself, but not all. */
const cacheTtlMs = 10 * 60_000;

function describedOf(answer: unknown): Described[] {
  if (typeof answer !== 'object' || answer === null) return [];
  const fields = answer as Record<string, unknown>;
  const text = (name: string): string | null => {
    const value = fields[name];
    return typeof value === 'string' ? value.slice(0, maxName) : null;
  };
  const id = text('id');
  return id === null
    ? []
    : [{ id, lid: text('lid'), phone: text('phone'), name: text('name'), isSaved: fields['isSaved'] === true }];
}

function contactFrom(id: string, found: Described | undefined): Contact {
  const isLid = parseAddress(id)?.kind === 'lid';
  const phoneId = found?.phone ?? (isLid ? null : id);
  return { id: phoneId ?? id, phone: phoneOf(phoneId), lid: found?.lid ?? (isLid ? id : null), name: found?.name ?? null };
}

/**
 * Finds the contact of an id. WhatsApp identifies more and more chats by LID, and the phone number may be absent, so both ids are read
 * and cached for ten minutes. What the page does not know is null, never guessed.
 */
export interface Identities {
  /**
   * Reads the contacts that are not cached, or not recently, from the page; then `contact` and `name` return without waiting. Never rejects.
   * Returns false when the page did not answer in time: then names are the cached ones, or empty.
   */
  learn(ids: readonly (string | null)[]): Promise<boolean>;
  /**
   * Reads contacts again that the page reports as changed. Returns those whose name or ids differ from the cache, and those in the address
   * book that were not cached; a stranger whom no event has named is left out. Never rejects.
   */
  refresh(ids: readonly string[]): Promise<Contact[]>;
  contact(id: string): Contact;
  name(id: string): string | null;
  /** Empties the cache. */
  forget(): void;
}

interface IdentitiesContext {
  page: () => Page;
  /** Monotonic milliseconds. */
  now: () => number;
  cache: Map<string, CacheEntry>;
}

export function createIdentities(page: () => Page, now: () => number = () => performance.now()): Identities {
  const context: IdentitiesContext = { page, now, cache: new Map() };
  const { cache } = context;
  return {
    learn: (ids) => learn(context, ids),
    refresh: (ids) => refresh(context, ids),
    contact: (id) => contactFrom(id, cache.get(id)),
    name: (id) => cache.get(id)?.name ?? null,
    forget: () => cache.clear(),
  };
}

async function learn(context: IdentitiesContext, ids: readonly (string | null)[]): Promise<boolean> {
  const missing = [...new Set(ids)].filter(
    (id): id is string => id !== null && parseAddress(id) !== null && !isFresh(context, id),
  );
  if (missing.length === 0) return true;
  const answers = await readFromPage(context, missing);
  if (answers === null) return false;
  store(context, answers);
  return true;
}

async function refresh(context: IdentitiesContext, ids: readonly string[]): Promise<Contact[]> {
  const { cache } = context;
  const people = ids.filter((id) => ['phone', 'lid'].includes(parseAddress(id)?.kind ?? ''));
  const before = new Map(people.map((id) => [id, cache.get(id)]));
  // When the page does not answer, the next event that names them reads them again.
  const answers = (await readFromPage(context, people)) ?? [];
  for (const id of people) cache.delete(id);
  store(context, answers);
  return answers.flatMap((answer) => {
    const previous = before.get(answer.id);
    const isChanged = previous
      ? previous.name !== answer.name || previous.phone !== answer.phone || previous.lid !== answer.lid
      : answer.isSaved && answer.name !== null;
    return isChanged ? [contactFrom(answer.id, answer)] : [];
  });
}

/** Null when the page did not answer in time. */
async function readFromPage({ page }: IdentitiesContext, ids: readonly string[]): Promise<Described[] | null> {
  try {
    const answers = await callPage<unknown>(page(), 'describe', { ids }, deadlineMs);
    // The page runs code that is not ours, so only answers of the right shape are accepted.
    return Array.isArray(answers) ? answers.flatMap(describedOf) : [];
  } catch (error) {
    return error instanceof DeadlineError ? null : []; // Other errors: the page does not know.
  }
}

function store({ cache, now }: IdentitiesContext, answers: readonly Described[]): void {
  for (const answer of answers) {
    if (!(answer.lid ?? answer.phone ?? answer.name)) continue;
    cache.delete(answer.id);
    cache.set(answer.id, { ...answer, readAt: now() });
  }
  // The entries that were just added are the newest, so they are not removed.
  for (const oldest of cache.keys()) {
    if (cache.size <= maxEntries) break;
    cache.delete(oldest);
  }
}

function isFresh({ cache, now }: IdentitiesContext, id: string): boolean {
  const found = cache.get(id);
  return found !== undefined && now() - found.readAt < cacheTtlMs;
}
