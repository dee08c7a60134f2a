/**
 * What a session stores of its messages: everything (`full`), or only who wrote to whom, when, and the
 * states (`metadata`: no text, no file, no names).
 */
export const storageModes = ['full', 'metadata'] as const;
export type StorageMode = (typeof storageModes)[number];
