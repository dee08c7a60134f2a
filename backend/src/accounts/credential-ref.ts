/**
 * A reference to the credential behind a connection that outlives its request (streams, tickets), without the secret itself, so that its
 * validity can be checked again later.
 */
export interface CredentialRef {
  accountId: string;
  type: 'key' | 'token';
  id: string;
  /** Which secret of the key was presented: with another one the key is another credential. Null for password logins. */
  keyFingerprint: string | null;
  /** Digest of the account's own secret: another one voids every token. Null for keys. */
  secret: string | null;
  /** When a token expires, in milliseconds since 1970. */
  until: number | null;
  /** The sign-in by cookie that it depends on. Absent: none. */
  browserSession?: string;
}

/** Returns the current permissions of a credential. Throws `AppError` when it is not valid any more. */
export type CheckCredential = (
  credential: CredentialRef,
) => Promise<{ permissions: readonly string[]; sessionId: string | null }>;
