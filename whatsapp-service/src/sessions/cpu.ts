import { readFile } from 'node:fs/promises';

/** Linux counts processor time in ticks of a hundredth of a second for every program: `man 5 proc_pid_stat`, USER_HZ. */
const ticksPerSecond = 100;

/** Processor time that a process has used so far, in ticks; null: it is gone, or this system does not tell. */
async function ticksOf(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  // The name of the program comes second, in parentheses, and may hold blanks and parentheses itself.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const [user, system] = [Number(fields?.[11]), Number(fields?.[12])];
  return Number.isFinite(user) && Number.isFinite(system) ? user + system : null;
}

/**
 * Measures the processor time of a group of processes between two calls. Returns it in percent of one processor, so that two busy processors are
 * 200; null at the first call, and where the system does not tell. `now` is a time of the monotonic clock in milliseconds.
 */
export function createCpuMeter(read: (pid: number) => Promise<number | null> = ticksOf) {
  let before: { at: number; ticks: Map<number, number> } | null = null;

  return async function measure(pids: readonly number[], now: number): Promise<number | null> {
    const ticks = new Map<number, number>();
    for (const pid of pids) {
      const used = await read(pid);
      if (used !== null) ticks.set(pid, used);
    }
    const earlier = before;
    before = { at: now, ticks };
    if (earlier === null || ticks.size === 0 || now <= earlier.at) return null;
    // A process that began in between has used all of its time since.
    const used = [...ticks].reduce((sum, [pid, count]) => sum + Math.max(0, count - (earlier.ticks.get(pid) ?? 0)), 0);
    return Math.round((used / ticksPerSecond / ((now - earlier.at) / 1000)) * 1000) / 10;
  };
}
