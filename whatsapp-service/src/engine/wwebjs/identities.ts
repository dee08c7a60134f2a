import { parseAddress, phoneOf, type Contact } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';

interface Described {
  id: string;
  lid: string | null;
  phone: string | null;
  name: string | null;
  /** Whether the name stands in the phone's address book. */
  isSaved: boolean;
}
interface Known extends Described {
  /** On the monotonic clock. */
  askedAt: number;
}

const deadlineMs = 5_000;
const maxName = 256;
/** People and chats that are remembered. Those that were asked for longest ago are asked for again when they come back. */
const maxKnown = 20_000;
/** After this time the page is asked again. It reports most changes by itself; this is for those that it does not. */
const knownMs = 10 * 60_000;

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
 * Who is behind an id. WhatsApp keys chats by LID more and more, and the number may be absent: both forms are asked for and
 * kept for ten minutes. What the page cannot tell stays null, never guessed.
 */
export function createIdentities(page: () => Page, now: () => number = () => performance.now()) {
  const known = new Map<string, Known>();

  /** Null when the page did not answer in time. */
  async function ask(ids: readonly string[]): Promise<Described[] | null> {
    try {
      const answers = await callPage<unknown>(page(), 'describe', { ids }, deadlineMs);
      // In the page runs WhatsApp's code, and what else gets in there: only what has the form of an answer is kept.
      return Array.isArray(answers) ? answers.flatMap(describedOf) : [];
    } catch (error) {
      return error instanceof DeadlineError ? null : []; // Anything else: the page cannot tell.
    }
  }

  function keep(answers: readonly Described[]): void {
    for (const answer of answers) {
      if (!(answer.lid ?? answer.phone ?? answer.name)) continue;
      known.delete(answer.id);
      known.set(answer.id, { ...answer, askedAt: now() });
    }
    // What was just asked for is newer than all that goes.
    for (const oldest of known.keys()) {
      if (known.size <= maxKnown) break;
      known.delete(oldest);
    }
  }

  const isFresh = (id: string): boolean => {
    const found = known.get(id);
    return found !== undefined && now() - found.askedAt < knownMs;
  };

  return {
    /**
     * Asks the page for those that are not known, or not lately; afterwards `contact` and `name` answer without waiting. Never rejects.
     * Returns false when the page did not answer in time: then names are as they were known before, or empty.
     */
    async learn(ids: readonly (string | null)[]): Promise<boolean> {
      const asked = [...new Set(ids)].filter((id): id is string => id !== null && parseAddress(id) !== null && !isFresh(id));
      if (asked.length === 0) return true;
      const answers = await ask(asked);
      if (answers === null) return false;
      keep(answers);
      return true;
    },
    /**
     * Asks again for people that the page says have changed. Returns those with another name or another form than was known, and those in the
     * address book that were not known: strangers whom no event has named are nobody's news. Never rejects.
     */
    async refresh(ids: readonly string[]): Promise<Contact[]> {
      const people = ids.filter((id) => ['phone', 'lid'].includes(parseAddress(id)?.kind ?? ''));
      const before = new Map(people.map((id) => [id, known.get(id)]));
      // When the page does not answer, the next event that names them asks again.
      const answers = (await ask(people)) ?? [];
      for (const id of people) known.delete(id);
      keep(answers);
      return answers.flatMap((answer) => {
        const was = before.get(answer.id);
        const isNews = was
          ? was.name !== answer.name || was.phone !== answer.phone || was.lid !== answer.lid
          : answer.isSaved && answer.name !== null;
        return isNews ? [contactFrom(answer.id, answer)] : [];
      });
    },
    contact: (id: string): Contact => contactFrom(id, known.get(id)),
    name: (id: string): string | null => known.get(id)?.name ?? null,
    forget: (): void => known.clear(),
  };
}
export type Identities = ReturnType<typeof createIdentities>;
