/** How long running sends and deliveries may delay a stop, in milliseconds. The next start looks up what was cut off. */
export const workStopMs = 10_000;
