/** Whether the runtime knows the time zone (IANA). */
export function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false; // RangeError: the standard has no other way to ask.
  }
}
