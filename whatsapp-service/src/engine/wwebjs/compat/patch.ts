/**
 * A fix for one defect of the current WhatsApp Web or of the library. `install` is sent to the page as source text and runs in every new
 * document after the core (page/core.ts), so it must not use imports or anything else outside itself.
 */
export interface Patch {
  /** The name under which the page reports the state of the patch. */
  id: string;
  /** When the defect appeared, as reported. */
  since: string;
  effect: string;
  threads: readonly string[];
  install: () => void;
}
