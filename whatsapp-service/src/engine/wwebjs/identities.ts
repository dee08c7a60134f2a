import { parseAddress, phoneOf, type Contact } from '@chasqui/shared';
import type { Page } from 'puppeteer';
import { callPage } from './bridge.js';

interface Described {
  id: string;
  lid: string | null;
  phone: string | null;
  name: string | null;
}

/**
 * Who is behind an id. WhatsApp keys chats by LID more and more, and the number may be absent: both forms are asked once and
 * kept. What the page cannot tell stays null, never guessed.
 */
export function createIdentities(page: () => Page) {
  const known = new Map<string, Described>();

  return {
    /** Asks the page for those that are not known yet; afterwards `contact` and `name` answer without waiting. Never rejects. */
    async learn(ids: readonly (string | null)[]): Promise<void> {
      const asked = [...new Set(ids)].filter((id): id is string => id !== null && parseAddress(id) !== null && !known.has(id));
      if (asked.length === 0) return;
      const answers = await callPage<Described[]>(page(), 'describe', { ids: asked }, 5000).catch((): Described[] => []);
      for (const answer of answers) if (answer.lid ?? answer.phone ?? answer.name) known.set(answer.id, answer);
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
