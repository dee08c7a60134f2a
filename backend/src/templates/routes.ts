import { pageMeta } from '@chasqui/shared';
import { Reply } from '@chasqui/shared/express';
import type { Mount } from '../accounts/caller.js';
import * as contract from './contract.js';
import type { Templates } from './templates.js';

/** Mounts the routes of templates. */
export function mountTemplates(mount: Mount, { templates }: { templates: Templates }): void {
  mount(contract.list, async ({ query }, { accountId }) => {
    const { templates: found, total } = await templates.list(accountId, query);
    return new Reply(found, { meta: pageMeta(query, total) });
  });
  mount(contract.create, ({ body }, caller) => templates.create(caller, body));
  mount(contract.read, ({ params, query }, { accountId }) => templates.find(accountId, params.templateId, query.version));
  mount(contract.change, ({ params, body }, caller) => templates.update(caller, params.templateId, body));
  mount(contract.remove, async ({ params }, caller) => {
    await templates.remove(caller, params.templateId);
    return { id: params.templateId, deleted: true as const };
  });
  mount(contract.preview, ({ params, body }, { accountId }) => templates.preview(accountId, params.templateId, body.variables));
}
