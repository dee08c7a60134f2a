import { readdirSync, readFileSync } from 'node:fs';

/** A process and all its descendants, according to /proc. */
export function treeOf(root: number): number[] {
  const children = childrenOf();
  const below = (pid: number): number[] => [pid, ...(children.get(pid) ?? []).flatMap(below)];
  return below(root);
}

/** The process trees right below one: a worker's browsers, one each. */
export const treesBelow = (pid: number): number[][] => (childrenOf().get(pid) ?? []).map(treeOf);

function childrenOf(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const stat = readProcess(Number(name), 'stat');
    const parent = Number(stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    if (parent) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  return children;
}

/** The command line of a process, its arguments separated by NUL; empty when it has ended. */
export const commandLine = (pid: number): string => readProcess(pid, 'cmdline') ?? '';

/** A file of /proc about a process; null when it has ended. */
export function readProcess(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return null; // It ended during the read.
  }
}
