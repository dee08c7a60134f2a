/** Some of the properties of `T`, as a parsed request holds them. A property that is absent or undefined is not changed. */
export type Changes<T> = { [K in keyof T]?: T[K] | undefined };

/** Returns `base` with the changed properties replaced. */
export function withChanges<T extends object>(base: T, changes: Changes<T> | undefined): T {
  const defined = Object.entries(changes ?? {}).filter(([, value]) => value !== undefined);
  return { ...base, ...Object.fromEntries(defined) };
}
