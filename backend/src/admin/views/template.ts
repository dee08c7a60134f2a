import { AppError, isMediaType, requestOf } from '@chasqui/shared';
import { IsNull, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { readable } from '../../db/unreadable.js';
import { templateTypes } from '../../templates/content.js';
import { variablesIn } from '../../templates/render.js';
import { Template, TemplateVersion } from '../../templates/template.entity.js';

/** One template with its current content. */
export async function templateView(reader: DataSource, id: string) {
  const row = await reader.getRepository(Template).findOneBy({ id, deletedAt: IsNull() });
  if (!row) throw new AppError('TEMPLATE_NOT_FOUND');
  const { accountId, version } = row;
  const [account, current] = await Promise.all([
    reader.getRepository(Account).findOneBy({ id: accountId }),
    reader.getRepository(TemplateVersion).findOneBy({ templateId: id, version }),
  ]);
  if (!current) throw new AppError('TEMPLATE_NOT_FOUND');
  const none: Record<string, unknown> = {};
  const content = readable(current.content, none);
  return {
    id,
    name: row.name,
    account: { id: accountId, name: account?.username ?? null },
    type: current.type,
    content,
    variables: variablesIn(content),
    version,
    createdAt: row.createdAt.getTime(),
    updatedAt: row.updatedAt.getTime(),
  };
}
export type TemplateView = Awaited<ReturnType<typeof templateView>>;

const fileExample = { mediaUrl: 'https://example.com/{{file}}', caption: 'Hello {{name|there}}' };

/** The types that a template can have, each with the fields of an example. */
export const templateTypesView = () =>
  templateTypes.map((type) => ({ type, example: (isMediaType(type) ? fileExample : requestOf(type).example) as object }));
export type TemplateTypesView = ReturnType<typeof templateTypesView>;
