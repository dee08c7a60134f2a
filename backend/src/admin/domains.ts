import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { AppError } from '@chasqui/shared';
import type { Accounts } from '../accounts/accounts.js';
import type { ApiKeys } from '../accounts/api-keys.js';
import { ApiKey } from '../accounts/api-key.entity.js';
import type { Database } from '../db/database.js';
import type { Caller } from '../http/context.js';
import { recordAudit } from '../lib/audit.js';
import type { Clock } from '../lib/clock.js';
import { MediaFile } from '../media/media-file.entity.js';
import type { Media } from '../media/media.js';
import { Message } from '../messages/message.entity.js';
import type { Messages } from '../messages/messages.js';
import type { Session } from '../sessions/session.entity.js';
import type { Sessions } from '../sessions/sessions.js';
import type { PanelVerbs } from './verbs.js';

export interface Domains {
  database: Database;
  clock: Clock;
  accounts: Accounts;
  keys: ApiKeys;
  sessions: Sessions;
  messages: Messages;
  media: Media;
}

/**
 * The panel's verbs, by the domains' own: the same rules as over REST. Staff act on what is not theirs; the domain is then called
 * for the account that owns the object, while the audit log keeps who it was.
 */
export function panelVerbs({ database, clock, accounts, keys, sessions, messages, media }: Domains): PanelVerbs {
  const forAccount = (caller: Caller, accountId: string): Caller => ({
    ...caller,
    accountId,
    permissions: ['*'],
    sessionId: null,
  });

  async function sessionOf(id: string): Promise<Session> {
    const session = await sessions.byId(id);
    if (!session) throw new AppError('SESSION_NOT_FOUND');
    return session;
  }
  async function messageOf(caller: Caller, id: string): Promise<{ owner: Caller; id: string }> {
    const message = await database.reader.getRepository(Message).findOneBy({ id });
    if (!message) throw new AppError('MESSAGE_NOT_FOUND');
    return { owner: forAccount(caller, message.accountId), id };
  }
  async function keyOf(id: string): Promise<ApiKey> {
    const key = await database.reader.getRepository(ApiKey).findOneBy({ id });
    if (!key) throw new AppError('KEY_NOT_FOUND');
    return key;
  }
  const onceOnly = (): string => randomBytes(15).toString('base64url');

  return {
    auth: {
      async signIn({ login, password, ip, requestId }) {
        const account = await accounts.authenticatePassword(await emailOf(login), password, ip);
        const caller: Caller = {
          accountId: account.id,
          role: account.role,
          credential: { type: 'panel', id: account.id, name: account.username },
          permissions: ['*'],
          sessionId: null,
          isPasswordLogin: true,
          requestId,
          ip,
        };
        await database.write.run((tx) =>
          recordAudit(tx, caller, { action: 'panel.login', objectType: 'account', objectId: account.id, at: clock.now() }),
        );
        return { accountId: account.id };
      },
      signedOut: (caller) =>
        database.write.run((tx) =>
          recordAudit(tx, caller, { action: 'panel.logout', objectType: 'account', objectId: caller.accountId, at: clock.now() }),
        ),
      async changePassword(caller, { current, next }) {
        const account = await accounts.find(caller.accountId);
        if (!account) throw new AppError('UNAUTHENTICATED');
        await accounts.authenticatePassword(account.email, current, caller.ip);
        await accounts.setPassword(caller, account.id, next, { mustChange: false });
      },
    },
    sessions: {
      create: async (caller, { accountId, name, deviceName }) => ({
        id: (await sessions.create(forAccount(caller, accountId), { name, deviceName: deviceName ?? undefined })).id,
      }),
      async start(caller, id) {
        await sessions.start(caller, await sessionOf(id));
      },
      async stop(caller, id) {
        await sessions.stop(caller, await sessionOf(id), false);
      },
      async logout(caller, id) {
        await sessions.stop(caller, await sessionOf(id), true);
      },
      async restart(caller, id) {
        await sessions.restart(caller, await sessionOf(id));
      },
      suspend: async (caller, id, reason) => sessions.suspend(caller, await sessionOf(id), reason),
      resume: async (caller, id) => sessions.resume(caller, await sessionOf(id)),
      async pairingCode(_caller, id, phoneNumber) {
        const { code, expiresAt } = await sessions.pairingCode(await sessionOf(id), phoneNumber);
        return { code, expiresAt: new Date(expiresAt) };
      },
    },
    messages: {
      async sendText(_caller, id, { recipient, message }) {
        const session = await sessionOf(id);
        const options = { quotedMessageId: null, ignoreQuoteErrors: false, mentions: [], queueIfOffline: false };
        const wish = {
          recipient: messages.recipient(recipient, session),
          content: { type: 'text' as const, message },
          file: null,
          options,
          quotedMessageId: null,
          expiresAt: null,
          origin: 'panel' as const,
        };
        return { id: (await messages.accept(session, wish, null)).id };
      },
      async retry(caller, id) {
        const { owner } = await messageOf(caller, id);
        await messages.retry(owner, id);
      },
      async cancel(caller, id) {
        const { owner } = await messageOf(caller, id);
        await messages.cancel(owner, id);
      },
      async resolve(caller, id, as) {
        const { owner } = await messageOf(caller, id);
        await messages.resolve(owner, id, as);
      },
    },
    accounts: {
      async create(caller, { username, email, role }) {
        const secret = onceOnly();
        const { account } = await accounts.create(caller, { username, email, role, password: secret, mustChangePassword: true });
        return { id: account.id, secret };
      },
      setRole: (caller, id, role) => accounts.setRole(caller, id, role),
      activate: (caller, id) => accounts.setActive(caller, id, true),
      deactivate: (caller, id) => accounts.setActive(caller, id, false),
      async resetPassword(caller, id) {
        const secret = onceOnly();
        await accounts.setPassword(caller, id, secret, { mustChange: true });
        return { id, secret };
      },
    },
    keys: {
      async create(caller, { accountId, sessionId, name, permissions }) {
        const { row, key } = await keys.create(forAccount(caller, accountId), { sessionId, name, permissions });
        return { id: row.id, secret: key };
      },
      async revoke(caller, id) {
        const key = await keyOf(id);
        await keys.revoke(caller, key.accountId, id);
      },
      /** The same name and permissions under a new secret; the old one dies. */
      async regenerate(caller, id) {
        const old = await keyOf(id);
        if (old.isPrimary) return { id, secret: await keys.regeneratePrimary(caller, old.accountId) };
        const made = await keys.create(forAccount(caller, old.accountId), {
          sessionId: old.sessionId,
          name: old.name,
          permissions: old.permissions,
          expiresAt: old.expiresAt,
        });
        await keys.revoke(caller, old.accountId, id);
        return { id: made.row.id, secret: made.key };
      },
    },
    media: {
      async open(_caller, id) {
        const file = await database.reader.getRepository(MediaFile).findOneBy({ id });
        if (!file || file.state !== 'stored') throw new AppError('MEDIA_NOT_FOUND');
        return {
          mimetype: file.mimetype,
          filename: file.filename,
          size: file.size,
          stream: createReadStream(media.pathOf(file.id)),
        };
      },
    },
  };

  /** People sign in by name or by address; the limits count by address. */
  async function emailOf(login: string): Promise<string> {
    if (login.includes('@')) return login;
    return (await accounts.list()).find((account) => account.username === login)?.email ?? login;
  }
}
