import { readFile } from 'node:fs/promises';

/** Linux reports processor time in ticks of 10 ms: `man 5 proc_pid_stat`, USER_HZ. */
const ticksPerSecond = 100;

/** Processor time that a process has used so far, in ticks; null if it has ended or the system does not report it. */
async function ticksOf(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  // The second field is the program name in parentheses, which may itself contain blanks and parentheses.
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  const [user, system] = [Number(fields?.[11]), Number(fields?.[12])];
  return Number.isFinite(user) && Number.isFinite(system) ? user + system : null;
}

/**
 * Measures the processor time of a group of processes between two calls. Returns it in percent of one processor, so that two busy processors are
 * 200; null at the first call, and if the system does not report it. `now` is a time of the monotonic clock in milliseconds.
 */
export type CpuMeter = (pids: readonly number[], now: number) => Promise<number | null>;

export function createCpuMeter(read: (pid: number) => Promise<number | null> = ticksOf): CpuMeter {
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
    // For a process that started in between, all of its time counts.
    const used = [...ticks].reduce((sum, [pid, count]) => sum + Math.max(0, count - (earlier.ticks.get(pid) ?? 0)), 0);
    return Math.round((used / ticksPerSecond / ((now - earlier.at) / 1000)) * 1000) / 10;
  };
}
