/**
 * What a session stores of its messages. `full`: everything. `metadata`: only who wrote to whom, when, and the statuses; no text, no file and no
 * names.
 */
export const storageModes = ['full', 'metadata'] as const;
export type StorageMode = (typeof storageModes)[number];
