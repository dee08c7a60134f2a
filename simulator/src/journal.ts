import { appendFileSync } from 'node:fs';
import { createHash } from 'node:crypto';

/** One line for each message that reached WhatsApp's server. Append-only. Crash tests compare with it. */
export interface JournalEntry {
  n: number;
  at: string;
  /** The number of the account that sent it. */
  account: string;
  device: string | null;
  /** The id as the sender's page writes it: `true_<chat>_<key>`. */
  whatsappId: string;
  key: string;
  chat: string;
  from: string;
  type: string;
  bodyHash: string;
  bodyLength: number;
  /** The same key was sent before. WhatsApp shows it once. */
  repeat: boolean;
  refused: boolean;
}

export interface Journal {
  add(entry: Omit<JournalEntry, 'n' | 'at' | 'bodyHash' | 'bodyLength' | 'whatsappId'> & { body: string }): void;
  since(n: number): JournalEntry[];
}

/** `file`: each line is also appended there, so that it survives if the simulator is killed. */
export function createJournal(now: () => Date, file?: string): Journal {
  const entries: JournalEntry[] = [];
  return {
    add({ body, ...rest }) {
      const entry = {
        n: entries.length + 1,
        at: now().toISOString(),
        ...rest,
        whatsappId: `true_${rest.chat}_${rest.key}${rest.chat.endsWith('@g.us') ? `_${rest.from}` : ''}`,
        bodyHash: createHash('sha256').update(body).digest('hex'),
        bodyLength: body.length,
      };
      entries.push(entry);
      if (file) appendFileSync(file, `${JSON.stringify(entry)}\n`);
    },
    since: (n) => entries.slice(n),
  };
}
