import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';

/**
 * Reads from the source which modules of WhatsApp's page the handler of each operation uses. It follows the handler's functions, those of the page's
 * scripts that they call through `core` or by name, and everything that these call.
 */

export interface ModuleUse {
  module: string;
  /** Whether the code works without the module: each use asks for it by `moduleIfAny`. */
  isOptional: boolean;
  /** The names that the code takes from the module without asking whether they are there. */
  names: Set<string>;
}

const engine = join(import.meta.dirname, '../../src/engine/wwebjs');
const filesIn = (folder: string): string[] => readdirSync(join(engine, folder)).map((name) => join(engine, folder, name));

/** Returns the modules that each operation uses, by operation. */
export function modulesUsedBy(isOperation: (name: string) => boolean): Map<string, ModuleUse[]> {
  const program = programOf([...filesIn('operations'), ...filesIn('page')]);
  const source = { checker: program.getTypeChecker(), helpers: new Map<string, ts.Node[]>() };
  const files = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(engine));
  const handlers = new Map<string, ts.Node>();
  for (const file of files) {
    const isPage = basename(join(file.fileName, '..')) === 'page';
    visit(file, (node) => {
      if (isPage) addHelper(source.helpers, node);
      else if (ts.isPropertyAssignment(node) && ts.isStringLiteral(node.name) && isOperation(node.name.text))
        handlers.set(node.name.text, node.initializer);
    });
  }
  return new Map([...handlers].map(([id, handler]) => [id, usesOf(handler, source)]));
}

interface Source {
  checker: ts.TypeChecker;
  /** The functions that the page's scripts add to `core`, by name, and those of `core.calls`, as `calls.<name>`. */
  helpers: Map<string, ts.Node[]>;
}

function programOf(names: string[]): ts.Program {
  const options: ts.CompilerOptions = { noLib: true, types: [], target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.NodeNext };
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  // Other files are of no interest, and reading the libraries takes seconds.
  host.getSourceFile = (name, ...rest) => (names.includes(name) ? getSourceFile(name, ...rest) : undefined);
  return ts.createProgram(names, options, host);
}

function visit(node: ts.Node, look: (node: ts.Node) => void): void {
  look(node);
  ts.forEachChild(node, (child) => visit(child, look));
}

/** Notes a function of `core`: one in the object of an `install…` function, or one that is assigned to `core.calls`. */
function addHelper(helpers: Map<string, ts.Node[]>, node: ts.Node): void {
  const add = (name: string, body: ts.Node): void => void helpers.set(name, [...(helpers.get(name) ?? []), body]);
  if (ts.isBinaryExpression(node) && ts.isElementAccessExpression(node.left) && node.left.expression.getText() === 'core.calls')
    add(`calls.${textOf(node.left.argumentExpression)}`, node.right);
  const isPart = ts.isVariableDeclaration(node) && /^Page(Tools|Operating|Groups|Stories)$/.test(node.type?.getText() ?? '');
  if (!isPart || !node.initializer || !ts.isObjectLiteralExpression(node.initializer)) return;
  for (const property of node.initializer.properties) if (property.name) add(property.name.getText(), property);
}

const textOf = (node: ts.Node): string => (ts.isStringLiteral(node) ? node.text : '');

function usesOf(handler: ts.Node, { checker, helpers }: Source): ModuleUse[] {
  const seen = new Set<ts.Node>();
  const found = new Map<string, ModuleUse>();
  const waiting = [handler];
  const follow = (next: readonly ts.Node[]): void => void waiting.push(...next.filter((node) => !seen.has(node)));
  for (let start = waiting.pop(); start; start = waiting.pop()) {
    if (seen.has(start)) continue;
    seen.add(start);
    visit(start, (node) => {
      if (ts.isCallExpression(node)) noteUse(found, node);
      follow(helpersIn(node, helpers));
      if (ts.isIdentifier(node)) follow(declarationsOf(node, checker));
    });
  }
  return [...found.values()];
}

/** Notes `core.module('X')`, `core.moduleIfAny('X')` and `core.collections()`. */
function noteUse(found: Map<string, ModuleUse>, call: ts.CallExpression): void {
  const name = /^core\.(module|moduleIfAny|collections)$/.exec(call.expression.getText().replace(/\s/g, ''))?.[1];
  if (!name) return;
  const module = name === 'collections' ? 'WAWebCollections' : textOf(call.arguments[0]!);
  // The worker's own `core.module` passes on the name that it was given.
  if (module === '') throw new Error(`This test cannot tell which module it is: ${call.getText()}`);
  const use = found.get(module) ?? { module, isOptional: true, names: new Set() };
  found.set(module, use);
  if (name === 'moduleIfAny') return;
  use.isOptional = false;
  for (const taken of namesTakenFrom(call)) use.names.add(taken);
}

/**
 * The names in `core.module('X').name`, in `const { name } = core.module('X')`, and those of a constant that holds the module. Names of which the code
 * asks whether they are there, by `?.` or `??`, are left out.
 */
function namesTakenFrom(call: ts.CallExpression): string[] {
  const { parent } = call;
  if (!ts.isVariableDeclaration(parent)) return nameTaken(parent);
  if (ts.isObjectBindingPattern(parent.name))
    return parent.name.elements.map(({ propertyName, name }) => (propertyName ?? name).getText());
  const [constant, names] = [parent.name.getText(), new Set<string>()];
  const scope = ts.findAncestor(parent, ts.isBlock);
  if (scope)
    visit(scope, (node) => {
      if (ts.isPropertyAccessExpression(node) && node.expression.getText() === constant)
        for (const name of nameTaken(node)) names.add(name);
    });
  return [...names];
}

function nameTaken(node: ts.Node): string[] {
  if (!ts.isPropertyAccessExpression(node) || node.questionDotToken) return [];
  const isAsked = ts.isOptionalChain(node.parent) || node.parent.getText().startsWith(`${node.getText()} ??`);
  return isAsked ? [] : [node.name.text];
}

/** `core.name`, `core.calls['name']` and `call('name', …)`. */
function helpersIn(node: ts.Node, helpers: Map<string, ts.Node[]>): readonly ts.Node[] {
  if (ts.isPropertyAccessExpression(node) && node.expression.getText() === 'core') return helpers.get(node.name.text) ?? [];
  if (ts.isElementAccessExpression(node) && node.expression.getText() === 'core.calls')
    return helpers.get(`calls.${textOf(node.argumentExpression)}`) ?? [];
  const isCall = ts.isCallExpression(node) && /^(context\.)?call$/.test(node.expression.getText());
  return isCall && node.arguments[0] ? (helpers.get(`calls.${textOf(node.arguments[0])}`) ?? []) : [];
}

/** What an identifier names at the top of one of our files: a function or a constant. */
function declarationsOf(node: ts.Identifier, checker: ts.TypeChecker): readonly ts.Node[] {
  const shorthand = ts.isShorthandPropertyAssignment(node.parent) ? checker.getShorthandAssignmentValueSymbol(node.parent) : null;
  const named = shorthand ?? checker.getSymbolAtLocation(node);
  const symbol = named && named.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(named) : named;
  return (symbol?.declarations ?? []).filter(
    (one) => ts.isFunctionDeclaration(one) || (ts.isVariableDeclaration(one) && ts.isSourceFile(one.parent.parent.parent)),
  );
}
