import { defineRoute, fileErrors, messageTemplate, messageTypes, paging, type ErrorCode } from '@chasqui/shared';
import { z } from 'zod';
import { templateTypes, type TemplateType } from './content.js';

const name = z.string().trim().min(1).max(128);
const type = z.enum(templateTypes as unknown as [TemplateType, ...TemplateType[]]);
const content = z.record(z.string(), z.unknown());
/** The values of variables, by name. */
export const variables = z.record(
  z.string().min(1).max(64),
  z.union([z.string().max(65_536), z.number(), z.boolean()], { error: 'A variable is a text, a number or a flag.' }),
);
/** The fields of a template, for the panel. */
export const templateFields = { name, type, content };
const params = z.object({ templateId: z.string().min(1).max(64) });
const fileProblems: readonly ErrorCode[] = fileErrors;

export const list = defineRoute({
  id: 'templates.list',
  method: 'get',
  path: '/templates',
  summary: 'Templates by name. `search`: a part of the name',
  auth: 'key',
  permission: 'templates.read',
  query: z.strictObject({ search: z.string().min(1).max(128).optional(), ...paging }),
  reply: z.array(messageTemplate),
});
export const create = defineRoute({
  id: 'templates.create',
  method: 'post',
  path: '/templates',
  summary: 'Create a template: the fields of the route of its type, with variables such as {{name}}',
  auth: 'key',
  permission: 'templates.manage',
  body: z.strictObject({ name, type, content }).meta({
    examples: [
      { name: 'order-paid', type: 'text', content: { message: 'Hello {{name|there}}, {{amount|currency:EUR}} arrived.' } },
    ],
  }),
  status: 201,
  reply: messageTemplate,
  errors: ['ALREADY_EXISTS', ...fileProblems],
});
export const read = defineRoute({
  id: 'templates.read',
  method: 'get',
  path: '/templates/:templateId',
  summary: 'One template. `version`: an earlier one, while it is stored',
  auth: 'key',
  permission: 'templates.read',
  params,
  query: z.strictObject({ version: z.coerce.number().int().min(1).max(1_000_000).optional() }),
  reply: messageTemplate,
  errors: ['TEMPLATE_NOT_FOUND'],
});
export const change = defineRoute({
  id: 'templates.change',
  method: 'put',
  path: '/templates/:templateId',
  summary: 'Change a template. A new content is a new version; what was sent or accepted before is not changed',
  auth: 'key',
  permission: 'templates.manage',
  params,
  body: z
    .strictObject({ name: name.optional(), type: type.optional(), content: content.optional() })
    .meta({ examples: [{ content: { message: 'Hello {{name}}.' } }] }),
  reply: messageTemplate,
  errors: ['TEMPLATE_NOT_FOUND', 'ALREADY_EXISTS', ...fileProblems],
});
export const remove = defineRoute({
  id: 'templates.remove',
  method: 'delete',
  path: '/templates/:templateId',
  summary: 'Delete a template',
  auth: 'key',
  permission: 'templates.manage',
  params,
  reply: z.object({ id: z.string(), deleted: z.literal(true) }),
  errors: ['TEMPLATE_NOT_FOUND'],
});
export const preview = defineRoute({
  id: 'templates.preview',
  method: 'post',
  path: '/templates/:templateId/preview',
  summary: 'What a template becomes with these variables. Nothing is sent, and no file is downloaded',
  auth: 'key',
  permission: 'templates.read',
  idempotency: { without: 'A preview changes nothing.' },
  params,
  body: z.strictObject({ variables: variables.default({}) }).meta({ examples: [{ variables: { name: 'Ana' } }] }),
  reply: z.object({
    type: z.enum(messageTypes),
    content: z.record(z.string(), z.unknown()),
    /** The text that the recipient would read; null if the message has none. */
    text: z.string().nullable(),
  }),
  errors: ['TEMPLATE_NOT_FOUND', 'MISSING_VARIABLE'],
});
