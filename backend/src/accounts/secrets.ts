import { randomBytes } from 'node:crypto';

/** Makes a password that must be changed at the first login. */
export const makeOneTimePassword = (): string => randomBytes(15).toString('base64url');

/** Makes an account's part of the key that signs its tokens. A new one voids every token, stream and panel session of the account. */
export const makeJwtSecret = (): string => randomBytes(32).toString('hex');
