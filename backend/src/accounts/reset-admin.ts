import { randomBytes } from 'node:crypto';
import { hash } from '@node-rs/argon2';
import type { Database } from '../db/database.js';
import { updateRows } from '../db/rows.js';
import { recordAudit } from '../audit/audit.js';
import type { Clock } from '../lib/clock.js';
import { StartProblem } from '../lib/start-problem.js';
import { Account } from './account.entity.js';

/**
 * Gives an admin a new one-time password, for an operator who has lost the old one and has access to the machine. Switches the account on and
 * voids its tokens. `name` is an e-mail address or a user name; without it, the oldest active admin is taken, or else the oldest admin.
 * A running backend needs no restart: it reads the password at each login. Running it twice gives a second password; the last one counts.
 */
export async function resetAdmin(
  { database, clock }: { database: Database; clock: Clock },
  name: string | null,
): Promise<{ email: string; username: string; password: string }> {
  const account = await findAdmin(database, name);
  const password = randomBytes(15).toString('base64url');
  const passwordHash = await hash(password);
  await database.write.run(async (tx) => {
    const at = clock.now();
    const changes = {
      passwordHash,
      jwtSecret: randomBytes(32).toString('hex'),
      mustChangePassword: true,
      isActive: true,
      updatedAt: at,
    };
    // Closes: the account is demoted or deleted meanwhile.
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
  return { email: account.email, username: account.username, password };
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
  throw new StartProblem('There is no admin yet. Start the backend once: it makes the first one and prints a one-time password.');
}
