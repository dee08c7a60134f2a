import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from '@jest/globals';

/** The confirmations in the sources of the panel. That each has a consequence is checked by its type (panel/parts/ActionButton.tsx). */

const panel = resolve(import.meta.dirname, '../panel');
/** The actions of all files, each as it is written. */
const actions = readdirSync(panel, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.tsx'))
  .flatMap((file) => {
    const text = readFileSync(join(panel, file), 'utf8');
    return text
      .split('<ActionButton')
      .slice(1)
      .map((rest) => ({ file, source: rest.slice(0, rest.indexOf('/>')) }));
  });
/** Questions about everything of a kind: there is no one object to name. */
const aboutAll = ['Stop the schedules of all jobs?'];

describe('the actions of the panel', () => {
  it('are found', () => {
    expect(actions.length).toBeGreaterThan(40);
  });
  it('ask first where they are dangerous', () => {
    expect(actions.filter(({ source }) => source.includes('tone="danger"') && !/question[=:]/.test(source))).toEqual([]);
  });
  it('name the object in what they ask', () => {
    const unnamed = actions.filter(({ source }) => {
      const question = /question(?:=\{?|: )(["'`])([\s\S]*?)\1/.exec(source)?.[2];
      return question !== undefined && !question.includes('${') && !aboutAll.includes(question);
    });
    expect(unnamed).toEqual([]);
  });
});
