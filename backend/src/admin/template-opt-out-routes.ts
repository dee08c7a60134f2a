import type { DataSource } from 'typeorm';
import { z } from 'zod';
import * as optOuts from '../opt-outs/contract.js';
import * as templates from '../templates/contract.js';
import { change, read, type PanelRoute } from './route.js';
import type { PanelVerbs } from './verbs.js';
import { keywordsView, optOutView } from './views/opt-out.js';
import { templateTypesView, templateView } from './views/template.js';

const empty = z.strictObject({});
const id = z.string().min(1).max(64);

/** The reads of the pages of templates and opt-outs. */
export const templateOptOutReads = (reader: DataSource): PanelRoute[] => [
  read('/live/templates/:id', z.object({}), (input) => templateView(reader, input.id)),
  read('/live/template-types', z.object({}), () => Promise.resolve(templateTypesView())),
  read('/live/optouts/:id', z.object({}), (input) => optOutView(reader, input.id)),
  read('/live/accounts/:id/keywords', z.object({}), (input) => keywordsView(reader, input.id)),
];

/** The changes of templates and opt-outs. */
export function templateOptOutChanges(verbs: Pick<PanelVerbs, 'templates' | 'optOuts'>): PanelRoute[] {
  const { name, type, content } = templates.templateFields;
  const newTemplate = z.strictObject({ accountId: id, name, type, content });
  const draft = z.strictObject({ accountId: id, type, content, variables: templates.variables });
  const contacts = z.array(z.string().trim().min(1).max(80)).min(1, 'Enter at least one number.').max(500);
  const importFields = z.strictObject({ accountId: id, list: z.string().min(1, 'Choose a file.').max(4_194_304) });
  return [
    change('staff', '/live/templates', newTemplate, ({ visitor, body: { accountId, ...input } }) =>
      verbs.templates.create(visitor.caller, accountId, input),
    ),
    change('staff', '/live/template-preview', draft, ({ body: { accountId, variables, ...input } }) =>
      verbs.templates.preview(accountId, input, variables),
    ),
    change('staff', '/live/templates/:id', z.strictObject({ name, type, content }), (input) =>
      verbs.templates.update(input.visitor.caller, input.id, input.body),
    ),
    change('staff', '/live/templates/:id/delete', empty, (input) => verbs.templates.remove(input.visitor.caller, input.id)),
    change('staff', '/live/optouts', z.strictObject({ accountId: id, contacts }), ({ visitor, body }) =>
      verbs.optOuts.add(visitor.caller, body.accountId, body.contacts),
    ),
    change(
      'staff',
      '/live/optouts-import',
      importFields,
      ({ visitor, body }) => verbs.optOuts.import(visitor.caller, body.accountId, body.list),
      { bodyLimit: '5mb' },
    ),
    change('staff', '/live/optouts/:id/delete', empty, (input) => verbs.optOuts.remove(input.visitor.caller, input.id)),
    change('staff', '/live/accounts/:id/keywords', optOuts.keywordFields, (input) =>
      verbs.optOuts.setKeywords(input.visitor.caller, input.id, input.body),
    ),
  ];
}
