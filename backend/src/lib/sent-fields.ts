/** Returns the fields that the caller sent. Fields that a body leaves out are not changed. */
export const sentFields = <T extends object>(body: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(body).filter(([, value]) => value !== undefined)) as never;
