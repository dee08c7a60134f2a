import { fileSpecOf, isMediaType, mediaOf, requestOf, type MessageContent, type RequestType } from '@chasqui/shared';
import type { Transaction } from '../../db/unit-of-work.js';
import { readRows } from '../../db/rows.js';
import type { Session } from '../../sessions/session.entity.js';
import { Template } from '../../templates/template.entity.js';
import type { Templates } from '../../templates/templates.js';
import type { Messages } from '../messages.js';
import type { ScheduledContents } from './schedule.entity.js';

/** Fills the contents of schedules that were made from a template. */

export interface FilledParts {
  templates: Pick<Templates, 'fieldsOf'>;
  messages: Pick<Messages, 'countryOf' | 'known'>;
}

/**
 * Returns the contents that an occurrence sends. Those of a template are the stored version, filled in the language and the time zone that the
 * account has now. Throws the errors of `Templates.fieldsOf`.
 */
export async function filledContents(
  { templates, messages }: FilledParts,
  session: Session,
  contents: ScheduledContents,
): Promise<ScheduledContents> {
  const { template, content } = contents;
  if (!template) return contents;
  const version = { accountId: session.accountId, type: template.type, content: template.fields };
  const fields = await templates.fieldsOf(version, template.variables);
  const media = mediaOf(content);
  if (media && isMediaType(content.type))
    return { ...contents, content: fileSpecOf(content.type).toContent(media, fields) as MessageContent };
  const request = requestOf(template.type as RequestType);
  const people = await messages.known(session, request.contactIds?.(fields) ?? []);
  return { ...contents, content: request.toContent(fields, { countryCode: messages.countryOf(session), people }) };
}

/** Whether the template of these contents was deleted. False if they were not made from a template. */
export async function isTemplateDeleted(tx: Transaction, { template }: ScheduledContents): Promise<boolean> {
  if (!template) return false;
  return (await readRows(tx.manager, Template, 'id = ? AND "deletedAt" IS NULL', [template.id])).length === 0;
}
