import { AppError } from '@chasqui/shared';
import type { Accounts } from '../accounts/accounts.js';
import { recordAudit } from '../audit/audit.js';
import type { Database } from '../db/database.js';
import type { Clock } from '../lib/clock.js';
import { PrivacyRequest } from '../privacy/privacy-request.entity.js';
import type { Privacy } from '../privacy/privacy.js';
import type { PanelVerbs } from './verbs.js';

interface Parts {
  database: Database;
  clock: Clock;
  accounts: Accounts;
  privacy: Privacy;
}

/** Implements the verbs of exports and erasures. See `createPanelVerbs`. */
export function privacyVerbs({ database, clock, accounts, privacy }: Parts): PanelVerbs['privacy'] {
  const requireAccount = async (id: string): Promise<void> => {
    if (!(await accounts.find(id))) throw new AppError('ACCOUNT_NOT_FOUND');
  };
  return {
    async exportContact(caller, accountId, contact) {
      await requireAccount(accountId);
      return { id: (await privacy.askForExport({ ...caller, accountId }, contact)).id };
    },
    async eraseContact(caller, accountId, contact, confirm) {
      await requireAccount(accountId);
      return { id: (await privacy.askForErasure({ ...caller, accountId }, contact, confirm)).id };
    },
    async archive(caller, id) {
      const row = await database.reader.getRepository(PrivacyRequest).findOneBy({ id });
      if (!row) throw new AppError('EXPORT_NOT_FOUND');
      const { accountId } = row;
      const path = await privacy.archive(accountId, id);
      const entry = { action: 'contact.export_download', objectType: 'contact', objectId: id, accountId, at: clock.now() };
      await database.write.run((tx) => recordAudit(tx, caller, entry));
      return path;
    },
  };
}
