import { describe, expect, test } from '@jest/globals';
import { operationIds, operations, type OperationId } from '@chasqui/shared';
import { isEffectChecked, needsOf } from '../../src/engine/wwebjs/operations/index.js';

const writes = operationIds.filter((id) => operations[id].effect === 'write');
const reads = operationIds.filter((id) => operations[id].effect === 'read');

describe('the operations of the worker', () => {
  test.each<OperationId>(writes)('%s looks afterwards whether its change happened', (id) => {
    expect(isEffectChecked(id)).toBe(true);
  });

  test('a read has no effect to look for', () => {
    expect(reads.filter(isEffectChecked)).toEqual([]);
  });

  test.each<OperationId>(operationIds)('%s names what it needs in the page, for the check after ready', (id) => {
    expect(needsOf(id).length).toBeGreaterThan(0);
    for (const { module, functions } of needsOf(id)) {
      expect(module).toMatch(/^WA\w+$/);
      for (const path of functions) expect(path).toMatch(/^[\w.]+$/);
    }
  });
});
