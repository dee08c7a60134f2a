import { z } from 'zod';

/** `limit` and `offset` of a list, from a query string. */
export const paging = {
  limit: z.coerce.number<string | number>().int().min(1).max(200).default(50),
  offset: z.coerce.number<string | number>().int().min(0).max(1_000_000).default(0),
};

/** What a list says of itself besides its rows. */
export const pageMeta = ({ limit, offset }: { limit: number; offset: number }, total: number) => ({
  limit,
  offset,
  total,
  totalExact: true,
});
