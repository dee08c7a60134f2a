import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import { describe, expect, test } from '@jest/globals';
import ts from 'typescript';
import { patches } from '../../src/engine/wwebjs/compat/index.js';
import { installConsoleLimit } from '../../src/engine/wwebjs/page/console-limit.js';
import { pageScripts } from '../../src/engine/wwebjs/page/index.js';
import { pageScript } from '../../src/engine/wwebjs/page/script.js';

/** What runs in WhatsApp's page is sent there as source text, so a name that only its file knows is unknown in the page. */

/** Returns `script: name` for each name that a script uses and that neither it nor a browser has. */
function unknownNames(scripts: Record<string, string>): string[] {
  const options: ts.CompilerOptions = {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    strict: false,
    types: [],
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    target: ts.ScriptTarget.ES2022,
  };
  const texts = new Map(Object.entries(scripts).map(([name, text]) => [`/${name}.js`, text]));
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.getSourceFile = (name, target) => {
    const text = texts.get(name);
    return text === undefined ? getSourceFile(name, target) : ts.createSourceFile(name, text, target);
  };
  host.fileExists = (name) => texts.has(name) || fileExists(name);
  const program = ts.createProgram([...texts.keys()], options, host);
  /** "Cannot find name", the same with a suggestion, and for the shorthand of a property. */
  const codes = new Set([2304, 2552, 18_004]);
  return program
    .getSemanticDiagnostics()
    .filter(({ code }) => codes.has(code))
    .map(({ file, start, length }) => `${file!.fileName.slice(1, -3)}: ${file!.text.slice(start, start! + length!)}`);
}

const operations = join(import.meta.dirname, '../../src/engine/wwebjs/operations');

/** The functions of operations that run in the page: those whose first parameter is its core. As JavaScript, by file and name. */
function operationFunctions(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(operations)) {
    const file = ts.createSourceFile(name, readFileSync(join(operations, name), 'utf8'), ts.ScriptTarget.ES2022, true);
    for (const statement of file.statements) {
      if (!ts.isFunctionDeclaration(statement) || statement.parameters[0]?.type?.getText() !== 'PageCore') continue;
      const text = ts.transpile(statement.getText(), { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext });
      found[`operations-${name}-${statement.name!.text}`] = `(() => {\n${text}\n})();`;
    }
  }
  return found;
}

const outside = (): number => 1;

describe('the scripts of the page', () => {
  test('use nothing that does not exist in the page', () => {
    const functions = Object.fromEntries(patches.map(({ id, install }) => [`compat-${id}`, `(${String(install)})();`]));
    const ofOperations = operationFunctions();
    expect(Object.keys(ofOperations)).toContain('operations-chat-rows.ts-chatRows');
    const scripts = { ...pageScripts, ...ofOperations, ...functions, 'console-limit': `(${String(installConsoleLimit)})();` };
    expect(unknownNames(scripts)).toEqual([]);
  });

  test('call the page’s own require as the page does, as a plain function', () => {
    const receivers: unknown[] = [];
    interface Page {
      require: (this: void, name: string) => unknown;
      window?: Page;
      top?: Page;
      chasqui?: { module: (name: string) => unknown; moduleIfAny: (name: string) => unknown };
    }
    const page: Page = {
      require(this: unknown, name: string) {
        receivers.push(this);
        return { name };
      },
    };
    page.window = page.top = page;
    createContext(page);
    runInContext(pageScripts['core']!, page);
    const { require } = page;
    const names = [page.chasqui?.module('a'), page.chasqui?.moduleIfAny('b'), require('c')];
    expect(names).toEqual([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
    expect(receivers).toEqual([undefined, undefined, undefined]);
  });

  test('a function that is not listed is found', () => {
    function install(): void {
      helper();
    }
    function helper(): void {
      outside();
    }
    const incomplete = { without: pageScript(install), complete: pageScript(install, [helper]) };
    expect(unknownNames(incomplete)).toEqual(['complete: outside', 'without: helper']);
  });

  test('only function declarations are accepted, because others have no name in the page', () => {
    function install(): void {
      outside();
    }
    expect(() => pageScript(install, [outside])).toThrow('Not a function declaration');
  });
});
