import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { BackupProblem } from '../problem.js';

/**
 * The key of backups: a key pair of age (https://age-encryption.org), so that an archive can be opened without this program. The recipient
 * (`age1…`) is enough to write backups; only the identity (`AGE-SECRET-KEY-1…`) opens them.
 */
export interface BackupKey {
  recipient: string;
  /** Null: this key can write backups, and cannot read them. */
  identity: string | null;
}

/** Creates a key pair. */
export async function newBackupKey(): Promise<{ identity: string; recipient: string }> {
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

const howToMake = '`npm run backup -- --new-key` makes one.';

/** Reads the setting BACKUP_KEY. Throws `KEY_MISSING` and `KEY_INVALID`, whose messages do not contain the key. */
export async function readBackupKey(text: string | undefined): Promise<BackupKey> {
  const key = text?.trim();
  if (!key)
    throw new BackupProblem(
      'KEY_MISSING',
      `BACKUP_KEY is not set, and a backup holds every login and secret, so it is never written in the clear. ${howToMake}`,
    );
  const isIdentity = /^AGE-SECRET-KEY-1[0-9A-Z]{58}$/.test(key);
  if (!isIdentity && !/^age1[0-9a-z]{58}$/.test(key))
    throw new BackupProblem(
      'KEY_INVALID',
      `BACKUP_KEY is neither an age identity (AGE-SECRET-KEY-1…) nor a recipient (age1…). ${howToMake}`,
    );
  try {
    return isIdentity ? { identity: key, recipient: await identityToRecipient(key) } : { identity: null, recipient: key };
  } catch {
    throw new BackupProblem('KEY_INVALID', `BACKUP_KEY has a typing error: its checksum is wrong. ${howToMake}`);
  }
}
