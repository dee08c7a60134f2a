import { isMediaType, validationError } from '@chasqui/shared';
import type { Response } from 'express';
import type { Caller } from '../../accounts/caller.js';
import { uploadOf } from '../../lib/uploads.js';
import type { Session } from '../../sessions/session.entity.js';
import type { TemplateVersion } from '../../templates/template.entity.js';
import type { Templates } from '../../templates/templates.js';
import type { TemplateBody } from '../contract.js';
import { composeMedia, composeTyped, type ComposeContext, type Composed } from './compose.js';

export interface TemplateContext extends ComposeContext {
  templates: Pick<Templates, 'current' | 'fieldsOf'>;
}

/** What a request says besides the content of its message. */
type Filling = Pick<TemplateBody, 'recipient' | 'quotedMessageId' | 'groupMentions' | 'variables'>;

/**
 * Composes a message from the current version of a template: an ordinary message of the template's type. Throws `TEMPLATE_NOT_FOUND`, `MISSING_VARIABLE`, and
 * `VALIDATION_FAILED` if the filled content does not fit its type, besides the errors of that type.
 */
export async function composeTemplate(
  context: TemplateContext,
  session: Session,
  { templateId, ...rest }: Filling & { templateId: string },
  caller: Caller,
  res: Response,
): Promise<Composed & { version: TemplateVersion }> {
  if (uploadOf(res)) {
    const message = 'A template has its own file. Send this file as a message of its own, or change the template.';
    throw validationError([{ path: 'file', code: 'NOT_FOR_TYPE', message }]);
  }
  const version = await context.templates.current(caller.accountId, templateId);
  const { type } = version;
  const { recipient, quotedMessageId, groupMentions, variables } = rest;
  const fields = { ...(await context.templates.fieldsOf(version, variables)), recipient, quotedMessageId, groupMentions };
  const composed = isMediaType(type)
    ? await composeMedia(context, session, { ...fields, type }, caller, res)
    : await composeTyped(context, session, type, fields);
  return { ...composed, templateId, version };
}
