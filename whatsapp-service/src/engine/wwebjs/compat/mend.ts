/**
 * One defect of today's WhatsApp Web or of the library, and how it is mended in the page. `install` is sent there as source text
 * and runs in every new document after the core (page/core.ts): it stands alone and imports nothing.
 */
export interface Mend {
  /** Also the name under which the page reports its state. */
  id: string;
  /** When it came, as reported. */
  since: string;
  effect: string;
  threads: readonly string[];
  install: () => void;
}
