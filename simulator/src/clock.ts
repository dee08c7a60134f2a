/** The server's time: the machine's time plus an offset that tests set. Timers run on real time. */
export function createClock() {
  let offsetMs = 0;
  return {
    now: (): Date => new Date(Date.now() + offsetMs),
    seconds: (): number => Math.floor((Date.now() + offsetMs) / 1000),
    move(ms: number): void {
      offsetMs += ms;
    },
    reset(): void {
      offsetMs = 0;
    },
  };
}
export type Clock = ReturnType<typeof createClock>;
