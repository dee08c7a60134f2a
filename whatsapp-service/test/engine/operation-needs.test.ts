import { describe, expect, test } from '@jest/globals';
import { isOperationId, operationIds } from '@chasqui/shared';
import { needsOf } from '../../src/engine/wwebjs/operations/index.js';
import type { Need } from '../../src/engine/wwebjs/page/world.js';
import { essentials } from '../../src/engine/wwebjs/self-check.js';
import { modulesUsedBy } from './module-uses.js';

/**
 * `GET /capabilities` and the check after `ready` go by what operations declare. One that uses a module without declaring it would be shown as supported
 * on a page that lacks it, and one that declares more would be refused without a reason.
 */

const used = modulesUsedBy(isOperationId);
const allOf = (needs: readonly Need[]): Need[] => needs.flatMap((one) => [one, ...allOf(one.otherwise ?? [])]);
/** What the session cannot work without is not declared by each operation. */
const everywhere = essentials.ids.map(({ module }) => module);

describe('what an operation uses in the page is what it declares', () => {
  test('the source of each operation is found', () => {
    expect([...used.keys()].sort()).toEqual([...operationIds].sort());
    // A use through a function of the page’s scripts, and one through a call by name.
    expect(used.get('groups.remove')!.map(({ module }) => module)).toContain('WAWebQueryExistsJob');
    expect(used.get('presence.set')!.map(({ module }) => module)).toEqual(['WAWebPresenceChatAction']);
  });

  test.each(operationIds)('%s', (id) => {
    const uses = used.get(id)!.filter(({ module }) => !everywhere.includes(module));
    const declared = allOf(needsOf(id));
    const isDeclared = (module: string, name: string): boolean =>
      declared.some((one) => one.module === module && one.functions.some((path) => path.split('.')[0] === name));
    const isKnown = (name: string): boolean => declared.some(({ module }) => module === name);
    const required = uses.filter(({ isOptional }) => !isOptional);
    expect({
      undeclaredModules: required.map(({ module }) => module).filter((module) => !isKnown(module)),
      undeclaredFunctions: required.flatMap(({ module, names }) =>
        [...names]
          // Objects, such as `Conn` and a default export, are not functions: their functions are declared.
          .filter((name) => isKnown(module) && /^(?!default$)[a-z]/.test(name) && !isDeclared(module, name))
          .map((name) => `${module}.${name}`),
      ),
      unusedModules: declared.map(({ module }) => module).filter((module) => !used.get(id)!.some((use) => use.module === module)),
    }).toEqual({ undeclaredModules: [], undeclaredFunctions: [], unusedModules: [] });
  });
});
