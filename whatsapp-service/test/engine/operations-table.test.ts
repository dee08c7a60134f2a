import { describe, expect, test } from '@jest/globals';
import { operationIds, operations, type OperationId } from '@chasqui/shared';
import { readFound } from '../../src/engine/wwebjs/self-check.js';
import { isEffectChecked, isEffectSeen, needsOf } from '../../src/engine/wwebjs/operations/index.js';

const writes = operationIds.filter((id) => operations[id].effect === 'write');
const reads = operationIds.filter((id) => operations[id].effect === 'read');

describe('the operations of the worker', () => {
  test.each<OperationId>(writes)('%s looks afterwards whether its change happened', (id) => {
    expect(isEffectChecked(id)).toBe(true);
  });

  test('those whose success is the word of WhatsApp are published as degraded, and no others', () => {
    const unseen = writes.filter((id) => !isEffectSeen(id));
    const degraded = operationIds.filter((id) => operations[id].support === 'degraded');
    expect(unseen.sort()).toEqual(degraded.sort());
    for (const id of degraded) expect(operations[id].supportReason).toMatch(/success means/);
    expect(unseen).toContain('presence.set');
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

describe('the page’s answer to the check', () => {
  test('is read as far as it is one: other operations, other types and long lists are left out', () => {
    const many = Array.from({ length: 1_000 }, (_, n) => `WAWeb${n}${'x'.repeat(1_000)}`);
    const found = readFound({
      missing: { 'chats.archive': many, invented: ['A'], 'chats.list': 5 },
      partial: { 'messages.edit': { 'calendar events': ['A'], invented: ['B'] }, 'chats.archive': { x: ['C'] }, 'chats.list': 5 },
      unchecked: ['chats.list', 'b', {}],
    });
    expect(found.partial).toEqual({ 'messages.edit': [{ part: 'calendar events', missing: ['A'] }] });
    expect(Object.keys(found.missing)).toEqual(['chats.archive']);
    expect(found.missing['chats.archive']).toHaveLength(20);
    expect(Math.max(...found.missing['chats.archive']!.map(({ length }) => length))).toBe(120);
    expect(found.unchecked).toEqual(['chats.list']);
  });

  test.each([null, 5, 'text', [], { missing: null, unchecked: {} }])('%p is an empty one', (answer) => {
    expect(readFound(answer)).toEqual({ missing: {}, partial: {}, unchecked: [] });
  });
});
