import { AppError, isCloseName, type AnyRoute } from '@chasqui/shared';

/**
 * Recognizes requests for no route of the API that look like one: a path of another method, and a misspelled path. Both may fit the path of an object,
 * such as `/messages/:messageId`, whose route would answer that there is no such message.
 */
export interface MistakenRoutes {
  /** Throws `METHOD_NOT_ALLOWED` when the path is that of a route without parameters, and none of its methods is this one. */
  requireMethod(method: string, path: string): void;
  /** Returns the route that a misspelled path looks like, as `POST /api/v1/messages/send-text`; one of the same method if there is one. */
  nearest(method: string, path: string): string | null;
}

const prefix = '/api/v1';
/** No part of a path without parameters is longer; ids are. */
const longestPart = 30;

export function createMistakenRoutes(routes: readonly AnyRoute[]): MistakenRoutes {
  const methodsOf = new Map<string, Set<string>>();
  for (const { path, method } of routes) {
    if (path.includes(':')) continue;
    const methods = methodsOf.get(path) ?? new Set();
    methodsOf.set(path, methods.add(method.toUpperCase()));
  }
  return {
    requireMethod(method, path) {
      const methods = methodsOf.get(path);
      if (!methods || methods.has(method) || method === 'OPTIONS' || (method === 'HEAD' && methods.has('GET'))) return;
      throw methodNotAllowed([...methods], path);
    },
    nearest(method, path) {
      if (methodsOf.has(path)) return null;
      const near = [...methodsOf].filter(([known]) => looksLike(path, known));
      const [found] = near.filter(([, methods]) => methods.has(method)).concat(near);
      if (!found) return null;
      const [known, methods] = found;
      return `${methods.has(method) ? method : [...methods][0]!} ${prefix}${known}`;
    },
  };
}

/** The error for a path of the API (without its prefix) that takes only these methods. */
export function methodNotAllowed(allow: string[], path: string): AppError {
  return new AppError('METHOD_NOT_ALLOWED', { allow }, `This path takes ${allow.join(', ')}: ${allow[0]!} ${prefix}${path}.`);
}

/** Whether two paths differ in one part, by a letter or two or by another separator. */
function looksLike(path: string, known: string): boolean {
  const [parts, knownParts] = [path.split('/'), known.split('/')];
  if (parts.length !== knownParts.length || path === known) return false;
  const wrong = parts.flatMap((part, index) => (part === knownParts[index] ? [] : [[part, knownParts[index]!] as const]));
  if (wrong.length !== 1 || wrong[0]![0].length > longestPart) return false;
  const [part, meant] = wrong[0]!.map((text) => text.toLowerCase().replace(/[^a-z0-9]/g, '')) as [string, string];
  return part === meant || isCloseName(part, meant);
}
