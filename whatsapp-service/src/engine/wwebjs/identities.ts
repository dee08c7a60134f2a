import { parseAddress, phoneOf, type Contact } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';
import { DeadlineError } from './deadline.js';

interface Described {
  id: string;
  lid: string | null;
  phone: string | null;
  name: string | null;
}

const deadlineMs = 5_000;
const maxName = 256;
/** People and chats that are remembered. Those that were asked for longest ago are asked for again when they come back. */
const maxKnown = 20_000;

function describedOf(answer: unknown): Described[] {
  if (typeof answer !== 'object' || answer === null) return [];
  const fields = answer as Record<string, unknown>;
  const text = (name: string): string | null => {
    const value = fields[name];
    return typeof value === 'string' ? value.slice(0, maxName) : null;
  };
  const id = text('id');
  return id === null ? [] : [{ id, lid: text('lid'), phone: text('phone'), name: text('name') }];
}

/**
 * Who is behind an id. WhatsApp keys chats by LID more and more, and the number may be absent: both forms are asked once and
 * kept. What the page cannot tell stays null, never guessed.
 */
export function createIdentities(page: () => Page) {
  const known = new Map<string, Described>();

  /** Null when the page did not answer in time. */
  async function ask(ids: readonly string[]): Promise<unknown[] | null> {
    try {
      const answers = await callPage<unknown>(page(), 'describe', { ids }, deadlineMs);
      return Array.isArray(answers) ? answers : [];
    } catch (error) {
      return error instanceof DeadlineError ? null : []; // Anything else: the page cannot tell.
    }
  }

  return {
    /**
     * Asks the page for those that are not known yet; afterwards `contact` and `name` answer without waiting. Never rejects.
     * Returns false when the page did not answer in time: then the names stay empty, as they do for whatever else goes wrong.
     */
    async learn(ids: readonly (string | null)[]): Promise<boolean> {
      const asked = [...new Set(ids)].filter((id): id is string => id !== null && parseAddress(id) !== null && !known.has(id));
      if (asked.length === 0) return true;
      const answers = await ask(asked);
      if (answers === null) return false;
      // In the page runs WhatsApp's code, and what else gets in there: only what has the form of an answer is kept.
      for (const answer of answers.flatMap(describedOf))
        if (answer.lid ?? answer.phone ?? answer.name) known.set(answer.id, answer);
      // What was just asked for is newer than all that goes.
      for (const oldest of known.keys()) {
        if (known.size <= maxKnown) break;
        known.delete(oldest);
      }
      return true;
    },
    contact(id: string): Contact {
      const found = known.get(id);
      const isLid = parseAddress(id)?.kind === 'lid';
      const phoneId = found?.phone ?? (isLid ? null : id);
      return { id: phoneId ?? id, phone: phoneOf(phoneId), lid: found?.lid ?? (isLid ? id : null), name: found?.name ?? null };
    },
    name: (id: string): string | null => known.get(id)?.name ?? null,
    forget: (): void => known.clear(),
  };
}
export type Identities = ReturnType<typeof createIdentities>;
