/** A time as the API shows it: ISO 8601 in UTC; null stays null. */
export const iso = (time: Date | null): string | null => time?.toISOString() ?? null;
