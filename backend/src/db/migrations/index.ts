import { Foundation1763600000000 } from './1763600000000-foundation.js';

/** In order. Migrations only move forward. */
export const migrations = [Foundation1763600000000];
