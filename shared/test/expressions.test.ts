import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import ts from 'typescript';

/**
 * Every regular expression of the product takes time in proportion to its input. The lint rules find nested and adjacent quantifiers, but not an
 * expression that starts again at each line or repetition of its own beginning. So each one is run on long texts that are made of its own parts.
 */
const root = join(import.meta.dirname, '../..');
const folders = ['shared/src', 'backend/src', 'whatsapp-service/src'];

interface Expression {
  place: string;
  source: string;
  flags: string;
}

function expressionsOf(file: string): Expression[] {
  const text = readFileSync(file, 'utf8');
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: Expression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf('/');
      const line = tree.getLineAndCharacterOfPosition(node.pos).line + 1;
      found.push({ place: `${relative(root, file)}:${line}`, source: node.text.slice(1, end), flags: node.text.slice(end + 1) });
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

const expressions = folders.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .flatMap((name) => expressionsOf(join(root, folder, name))),
);

/** Texts that, repeated, may make it start again and again: its literal parts, alone and joined with what often ends or fills a part. */
function pumpsOf(source: string): string[] {
  const plain = source.replace(/\\([^A-Za-z0-9])/g, '$1').replace(/\\[a-zA-Z]\d*/g, ' ');
  const parts = plain.split(/[\^$.*+?()[\]{}|\\ ]+/).filter((part) => part.length > 0 && part.length <= 20);
  const common = [
    'a',
    'A',
    '0',
    ' ',
    '\t',
    '\n',
    '\r\n',
    '/',
    '.',
    ':',
    '-',
    ',',
    ';',
    '=',
    '"',
    '%',
    '@',
    '<',
    '{',
    '{{',
    '[',
    '(',
    '_',
    'é',
  ];
  const mixed = parts.flatMap((part) => [part, `${part}\n`, `\n${part}`, `${part} `, `${part}a`, `${part}0`]);
  return [...new Set([...common, ...mixed])];
}

const longest = 40_000;
const run = ({ source, flags }: Expression, text: string): number => {
  const expression = new RegExp(source, flags.replace('y', 'g'));
  const began = performance.now();
  text.replace(expression, '');
  return performance.now() - began;
};

/** The least of three, on a busy machine. Proportional: twice the text takes about twice the time. */
function isSuperLinear(expression: Expression, pump: string): boolean {
  const half = pump.repeat(Math.ceil(longest / 2 / pump.length));
  for (const [before, after] of [
    ['', '\0'],
    ['', ''],
    ['\0', '\0'],
  ]) {
    if (run(expression, before + half + after) < 40) continue;
    const least = (text: string): number => Math.min(...[1, 2, 3].map(() => run(expression, text)));
    const short = least(before + half.slice(0, half.length / 4) + after);
    if (least(before + half + after) > 8 * Math.max(short, 0.5)) return true;
  }
  return false;
}

describe('regular expressions', () => {
  test('are found in the sources', () => expect(expressions.length).toBeGreaterThan(50));

  test('take time in proportion to their input', () => {
    const slow = expressions.flatMap((expression) => {
      const pump = pumpsOf(expression.source).find((one) => isSuperLinear(expression, one));
      return pump === undefined
        ? []
        : [`${expression.place} /${expression.source}/${expression.flags} on ${JSON.stringify(pump)}`];
    });
    expect(slow).toEqual([]);
  }, 300_000);

  test('of the known slow kinds are noticed', () => {
    const known: [string, string][] = [
      ['^TEL[^:]*:(.+)$', 'm'],
      ['\\s+$', ''],
      ['<[^>]*>', ''],
    ];
    for (const [source, flags] of known) {
      const expression = { place: '', source, flags };
      expect([source, pumpsOf(source).some((pump) => isSuperLinear(expression, pump))]).toEqual([source, true]);
    }
  }, 60_000);
});
