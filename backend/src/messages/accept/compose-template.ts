import { isMediaType, validationError } from '@chasqui/shared';
import type { Response } from 'express';
import type { Caller } from '../../accounts/caller.js';
import { uploadOf } from '../../lib/uploads.js';
import type { Session } from '../../sessions/session.entity.js';
import type { Templates } from '../../templates/templates.js';
import type { TemplateBody } from '../contract.js';
import { composeMedia, composeTyped, type ComposeContext, type Composed } from './compose.js';

interface Context extends ComposeContext {
  templates: Pick<Templates, 'current' | 'fieldsOf'>;
}

/**
 * Composes a message from a template: an ordinary message of the template's type. Throws `TEMPLATE_NOT_FOUND`, `MISSING_VARIABLE`, and
 * `VALIDATION_FAILED` if the filled content does not fit its type, besides the errors of that type.
 */
export async function composeTemplate(
  context: Context,
  session: Session,
  { templateId, variables, type: _, ...common }: TemplateBody,
  caller: Caller,
  res: Response,
): Promise<Composed> {
  if (uploadOf(res)) {
    const message = 'A template has its own file. Send this file as a message of its own, or change the template.';
    throw validationError([{ path: 'file', code: 'NOT_FOR_TYPE', message }]);
  }
  const version = await context.templates.current(caller.accountId, templateId);
  const { type } = version;
  const fields = { ...(await context.templates.fieldsOf(version, variables)), ...common };
  const composed = isMediaType(type)
    ? await composeMedia(context, session, { ...fields, type }, caller, res)
    : await composeTyped(context, session, type, fields);
  return { ...composed, templateId };
}
