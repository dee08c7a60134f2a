import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';

/** The product's own source as syntax trees, for tests that compare what is published with what is used. */

export const root = resolve(import.meta.dirname, '../../..');

export interface Source {
  /** From the root of the repository, with slashes. */
  path: string;
  text: string;
  tree: ts.SourceFile;
}

/** All modules below `folders`, without tests. */
export function readSources(folders: readonly string[]): Source[] {
  return folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => relative(root, join(root, folder, name)).replaceAll('\\', '/'))
      .filter((path) => /\.(ts|mjs)$/.test(path) && !/\.(test|d)\.ts$|\/(node_modules|dist)\//.test(path))
      .map((path) => {
        const text = readFileSync(join(root, path), 'utf8');
        return { path, text, tree: ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true) };
      }),
  );
}

export const readText = (path: string): string => readFileSync(join(root, path), 'utf8');

export function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node);
  node.forEachChild((child) => visit(child, see));
}

/** The texts of all string literals below a node. */
export function literalsIn(node: ts.Node): string[] {
  const found: string[] = [];
  visit(node, (one) => {
    if (ts.isStringLiteralLike(one)) found.push(one.text);
  });
  return found;
}

/** Whether a literal only compares: `=== 'x'`, `case 'x'`, `['x'].includes(…)`, `new Set(['x'])`, a key of a table, a type. */
export function isCompared(literal: ts.Node): boolean {
  const { parent } = literal;
  if (ts.isBinaryExpression(parent)) return /^[!=]==?$/.test(parent.operatorToken.getText());
  if (ts.isCaseClause(parent) || ts.isLiteralTypeNode(parent)) return true;
  if (ts.isPropertyAssignment(parent) && parent.name === literal) return true;
  if (!ts.isArrayLiteralExpression(parent)) return false;
  const holder = ts.isAsExpression(parent.parent) ? parent.parent.parent : parent.parent;
  return (
    (ts.isPropertyAccessExpression(holder) || ts.isParenthesizedExpression(holder) || ts.isNewExpression(holder)) &&
    !holder.getText().startsWith('new AppError')
  );
}

/** What a template such as `message.${to}` can be inside its `case` clauses. */
export function expansionsOf(template: ts.TemplateExpression): string[] {
  const [span, ...more] = template.templateSpans;
  if (!span || more.length > 0) return [];
  let clause: ts.Node = template;
  while (!ts.isCaseClause(clause) && !ts.isSourceFile(clause)) clause = clause.parent;
  if (!ts.isCaseClause(clause)) return [];
  const clauses = clause.parent.clauses;
  const labels: string[] = [];
  for (let at = clauses.indexOf(clause); at >= 0; at -= 1) {
    const one = clauses[at]!;
    if (at < clauses.indexOf(clause) && one.statements.length > 0) break;
    if (ts.isCaseClause(one)) labels.push(...literalsIn(one.expression));
  }
  return labels.map((label) => template.head.text + label + span.literal.text);
}
