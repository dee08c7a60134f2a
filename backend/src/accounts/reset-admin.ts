import { hash } from '@node-rs/argon2';
import { recordAudit } from '../audit/audit.js';
import type { Core } from '../core.js';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import { StartProblem } from '../lib/start-problem.js';
import { Account } from './account.entity.js';
import { makeFirstToken } from './first-link.js';
import { makeJwtSecret, makeOneTimePassword } from './secrets.js';

/**
 * Sets a one-time password of an admin, for an operator who has lost the old one and has access to the machine. Activates the account and
 * voids its tokens. `name` is an e-mail address or a user name. Without it, the oldest active admin is chosen, or else the oldest admin.
 * A running backend needs no restart: it reads the password at each login. A second run sets a second password; the last one is valid.
 * Throws `StartProblem` if there is no such admin.
 */
export async function resetAdmin(
  { database, clock }: Pick<Core, 'database' | 'clock'>,
  name: string | null,
  /** The secret of the installation, which signs the link. */
  secret: string,
): Promise<{ email: string; username: string; password: string; linkToken: string }> {
  const account = await findAdmin(database, name);
  const password = makeOneTimePassword();
  const passwordHash = await hash(password);
  const jwtSecret = makeJwtSecret();
  await database.write.run(async (tx) => {
    const at = clock.now();
    const changes = {
      passwordHash,
      jwtSecret,
      mustChangePassword: true,
      isActive: true,
      updatedAt: at,
    };
    // Closes: the account is demoted or deleted after it was read.
    if ((await updateRows(tx, Account, { id: account.id, role: 'admin' }, changes)) === 0)
      throw new StartProblem(`${account.email} is not an admin any more. Run the command again.`);
    await recordAudit(tx, null, {
      action: 'account.password',
      objectType: 'account',
      objectId: account.id,
      accountId: account.id,
      changes: { by: 'reset-admin' },
      at,
    });
  });
  const linkToken = makeFirstToken(secret, { id: account.id, passwordHash, jwtSecret }, clock.now());
  return { email: account.email, username: account.username, password, linkToken };
}

async function findAdmin(database: Database, name: string | null): Promise<Account> {
  const admins = await database.reader.getRepository(Account).find({ where: { role: 'admin' }, order: { createdAt: 'ASC' } });
  const wanted = name?.toLowerCase();
  const found = wanted
    ? admins.find((admin) => admin.email === wanted || admin.username.toLowerCase() === wanted)
    : (admins.find((admin) => admin.isActive) ?? admins[0]);
  if (found) return found;
  if (wanted && admins.length > 0)
    throw new StartProblem(`There is no admin called ${name}. Admins: ${admins.map(({ email }) => email).join(', ')}.`);
  throw new StartProblem(
    'There is no admin yet. Start the backend once: it creates the first one and prints a one-time password.',
  );
}
