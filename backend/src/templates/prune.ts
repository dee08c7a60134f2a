import type { Core } from '../core.js';
import { deleteRows, readRows } from '../db/rows.js';
import type { Media } from '../media/media.js';
import { Template, TemplateVersion } from './template.entity.js';

/** For how long a version that was replaced can be read. Whatever keeps a version for longer stores its content. */
const retiredMs = 90 * 86_400_000;
const batchSize = 100;

/**
 * Deletes versions that were replaced, or whose template was deleted, a long time ago, with their files. Returns their number. May die halfway: each
 * commit is complete, and the next run continues.
 */
export async function pruneVersions(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  { media }: { media: Pick<Media, 'remove'> },
): Promise<number> {
  const before = clock.now().getTime() - retiredMs;
  for (let total = 0; ;) {
    const count = await database.write.run(async (tx) => {
      const condition = `"retiredAt" < ? ORDER BY "retiredAt" LIMIT ${batchSize}`;
      const old = await readRows(tx.manager, TemplateVersion, condition, [before]);
      for (const { templateId, version, mediaId } of old) {
        await deleteRows(tx, TemplateVersion, { templateId, version });
        if (mediaId) await media.remove(tx, [mediaId]);
        if (!(await tx.manager.existsBy(TemplateVersion, { templateId }))) await deleteRows(tx, Template, { id: templateId });
      }
      return old.length;
    });
    total += count;
    if (count < batchSize) return total;
  }
}
