import type { LoadHook } from 'node:module';

const changes = JSON.parse(process.env['CHASQUI_MUTANT'] ?? '[]') as { file: string; find: string; become: string }[];

/** A mutation whose text no longer exists stops the process: otherwise it would change nothing and look as if it survived. */
export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  const mine = changes.filter(({ file }) => url.endsWith(`/${file}`));
  if (mine.length === 0 || loaded.source == null) return loaded;
  let source = Buffer.from(loaded.source as Uint8Array).toString('utf8');
  for (const { find, become } of mine) {
    if (!source.includes(find)) throw new Error(`The mutation does not fit ${url} any more: ${find}`);
    source = source.replace(find, become);
  }
  return { ...loaded, source };
};
