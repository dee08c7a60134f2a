/** A stored time as the pages of the panel receive it: milliseconds since 1970. */
export const toMs = (time: Date | null | undefined): number | null => time?.getTime() ?? null;
