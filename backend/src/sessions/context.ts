import type { ObservedSession, PasskeyAnswer, PasskeyRequest, SessionSettings } from '@chasqui/shared';
import type { ApiKeys } from '../accounts/api-keys.js';
import type { Caller } from '../accounts/caller.js';
import type { Plans } from '../accounts/plans.js';
import { recordAudit } from '../audit/audit.js';
import type { Contacts } from '../contacts/contacts.js';
import type { Core } from '../core.js';
import type { Transaction } from '../db/unit-of-work.js';
import type { SessionProxies } from './proxies.js';
import type { Session } from './session.entity.js';
import type { SessionState } from './state.js';

/** The access of this domain to workers. It does not know the protocol; `whatsapp/worker-gateway.ts` implements it. Throws `WORKER_…` codes. */
export interface WorkerGateway {
  /** Returns the worker that runs this session, or that should run it. */
  place(session: Session): Promise<{ workerId: string }>;
  /** Starts the session on its worker, or joins the start that is running. */
  init(session: Session): Promise<ObservedSession>;
  status(session: Session): Promise<ObservedSession>;
  /** Ends the browser. `logout` also unlinks the device and deletes the login. */
  disconnect(session: Session, logout: boolean): Promise<ObservedSession>;
  restart(session: Session): Promise<void>;
  pairingCode(session: Session, phoneNumber: string): Promise<{ code: string; expiresAt: string }>;
  /** Returns WhatsApp's request for the passkey of the account that is being linked or checked. Throws `SESSION_STATE_CONFLICT` if there is none. */
  passkey(session: Session): Promise<{ request: PasskeyRequest; expiresAt: string }>;
  /** Passes the owner's answer on. Throws `SESSION_STATE_CONFLICT`, and `VALIDATION_FAILED` for the answer to another request. */
  answerPasskey(session: Session, answer: PasskeyAnswer): Promise<void>;
}

export interface SessionDefaults {
  settings: SessionSettings;
  /** Calling code of the installation, for sessions that set none. */
  countryCode: string | undefined;
  /** How long a start waits for a QR code, a connection or an end. */
  initWaitMs: number;
  leaseMs: number;
}

export interface SessionParts {
  state: SessionState;
  gateway: WorkerGateway;
  limitsOf: Plans['limitsOf'];
  /** Revokes the keys of a session in the transaction that deletes it. */
  revokeKeys: ApiKeys['revokeOfSession'];
  /** Removes the names of a session's contacts when its storage mode becomes `metadata`. */
  forgetNames: Contacts['forgetNames'];
  proxies: SessionProxies;
  defaults: SessionDefaults;
}

/** The parts that the verbs of sessions share. */
export type SessionContext = Core & SessionParts;

/** Writes an entry of the audit log about a session, in the transaction of the change. */
export const auditSession = (
  { clock }: SessionContext,
  tx: Transaction,
  caller: Caller,
  action: string,
  session: Session,
  changes: Record<string, unknown> = {},
  before?: object,
): Promise<void> =>
  recordAudit(tx, caller, {
    action,
    objectType: 'session',
    objectId: session.id,
    accountId: session.accountId,
    changes,
    ...(before ? { before } : {}),
    at: clock.now(),
  });
