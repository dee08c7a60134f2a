import { z } from 'zod';
import { whole } from './input.js';

/** `limit` and `offset` of a list, from a query string. */
export const paging = {
  limit: whole(1, 200).default(50),
  offset: whole(0, 1_000_000).default(0),
};

/** `cursor` of a list: the `meta.nextCursor` of the page before. It takes precedence over `offset`. */
export const listCursor = z.string().max(200);

/** The metadata of a list. */
export const pageMeta = ({ limit, offset }: { limit: number; offset: number }, total: number) => ({
  limit,
  offset,
  total,
  totalExact: true,
});

/** A flag in a query string. Accepts a boolean too, because the worker parses the input of an operation again. */
export const queryFlag = z.union([z.stringbool(), z.boolean()]);
