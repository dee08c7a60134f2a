import { In, type DataSource, type EntityTarget, type FindOptionsSelect, type ObjectLiteral } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { ApiKey } from '../../accounts/api-key.entity.js';
import { Plan } from '../../accounts/plan.entity.js';
import type { AuditLog } from '../../audit/audit.entity.js';
import { BulkJob } from '../../bulk/bulk.entity.js';
import { Session } from '../../sessions/session.entity.js';
import { Template } from '../../templates/template.entity.js';
import { Webhook } from '../../webhooks/webhook.entity.js';
import { webhookTitle } from '../alerts.js';

/** The objects of the audit log that have a name and a page: their table, the column with the name, and the list of the panel. */
const objects: Record<string, { entity: EntityTarget<ObjectLiteral>; columns: string[]; list: string }> = {
  account: { entity: Account, columns: ['username'], list: 'accounts' },
  api_key: { entity: ApiKey, columns: ['name'], list: 'keys' },
  key: { entity: ApiKey, columns: ['name'], list: 'keys' },
  plan: { entity: Plan, columns: ['name'], list: 'plans' },
  session: { entity: Session, columns: ['name'], list: 'sessions' },
  template: { entity: Template, columns: ['name'], list: 'templates' },
  bulk_job: { entity: BulkJob, columns: ['name'], list: 'bulk' },
  webhook: { entity: Webhook, columns: ['url', 'description'], list: 'webhooks' },
};

const nameOf = (row: ObjectLiteral): string | null => {
  const { username, name, url, description } = row as Record<string, string | null | undefined>;
  return url ? webhookTitle({ url, description: description ?? null }) : (username ?? name ?? null);
};

/** What the audit log shows besides its columns: what the object is called, and its page. Deleted objects keep their names. */
export async function readAuditRows(
  reader: DataSource,
  rows: readonly ObjectLiteral[],
): Promise<ReadonlyMap<string, Record<string, unknown>>> {
  const entries = rows as readonly AuditLog[];
  const names = new Map<string, string>();
  for (const [type, { entity, columns }] of Object.entries(objects)) {
    const ids = entries.flatMap(({ objectType, objectId }) => (objectType === type && objectId ? [objectId] : []));
    if (ids.length === 0) continue;
    const wanted = Object.fromEntries(['id', ...columns].map((column) => [column, true]));
    const found = await reader
      .getRepository(entity)
      .find({ where: { id: In([...new Set(ids)]) }, select: wanted as FindOptionsSelect<ObjectLiteral> });
    for (const row of found) names.set(`${type} ${String(row['id'])}`, nameOf(row) ?? '');
  }
  return new Map(
    entries.map(({ id, objectType, objectId }) => {
      const list = objects[objectType]?.list ?? (objectType === 'message' ? 'messages' : null);
      const objectTo = list && objectId ? `/resources/${list}/records/${objectId}/show` : null;
      return [id, { objectName: names.get(`${objectType} ${objectId ?? ''}`) || null, objectTo }];
    }),
  );
}
