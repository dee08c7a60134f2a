/**
 * Builds the scripts that run in WhatsApp's page. Each file of this folder is one script: `install…` builds its context, and the verbs are functions
 * at file level that receive it, as everywhere else. Functions are sent to the page as source text, so `pageScript` must list each function that
 * the script uses. The rest of the file, its imports and constants, does not exist in the page. What several scripts need is on `window.chasqui`
 * (world.ts). `page-scripts.test.ts` finds names that a script uses and does not have.
 */
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- functions of every signature
type PageFunction = (...args: any[]) => unknown;

/** Returns the source text of one script: it defines `functions` and runs `install`. Throws when one of them is not a function declaration. */
export function pageScript(install: () => void, functions: readonly PageFunction[] = []): string {
  const declarations = [install, ...functions].map(String);
  for (const text of declarations)
    if (!/^(async )?function \w/.test(text)) throw new TypeError(`Not a function declaration: ${text.slice(0, 80)}`);
  return `(() => {\n${declarations.join('\n')}\n${install.name}();\n})();`;
}
