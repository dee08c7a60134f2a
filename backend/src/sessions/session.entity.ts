import type {
  CompatReport,
  LoginCopy,
  RestrictionKind,
  SelfCheck,
  SessionSettings,
  SessionStatus,
  WhatsappAccount,
} from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { Throttle } from '../lib/throttle.js';
import { column, orNull } from '../db/columns.js';

/** What a worker reported last about the WhatsApp account of a session. */
export interface AccountLimits {
  reachOutLocked: boolean;
  /** When the lock ends, if the page says so. Rows of earlier versions do not have the field. */
  reachOutUntil?: string | null;
  linkedDevices: { count: number; checkedAt: string } | null;
}

/** A restriction of the account or the network of a session, as `session.restriction` reports it. */
export interface AccountRestriction {
  kind: RestrictionKind;
  message: string;
  /** When WhatsApp lifts it. Null: WhatsApp does not say. */
  until: string | null;
  since: string;
}

/** A code that links the account when it is typed on the phone with this number. */
export interface PairingCode {
  code: string;
  phoneNumber: string;
  expiresAt: string;
}

/** One linked WhatsApp account: its desired state, what was last observed, and which worker has its lease. */
@Entity({ name: 'sessions' })
@Index('sessions_account_name', ['accountId', 'liveName'], { unique: true })
@Index('sessions_desired', ['desired', 'deletedAt'])
export class Session {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  @Column(column.string(64)) name: string;
  /** The name, or the id once the session is deleted. So a name is unique, and free again after the deletion. */
  @Column(column.string(64)) liveName: string;
  @Column(column.flag({ default: false })) isDefault: boolean;
  @Column(orNull(column.string(64))) deviceName: string | null;
  /** The number for which pairing codes are requested while the session waits to be linked, with `+`. Null: none are requested. */
  @Column(orNull(column.string(20))) pairingNumber: string | null;

  @Column(column.string(8, { default: 'stopped' })) desired: 'running' | 'stopped';
  @Column(column.string(20, { default: 'disconnected' })) status: SessionStatus;
  @Column(orNull(column.string(40))) reasonCode: string | null;
  @Column(orNull(column.text())) reasonText: string | null;
  @Column(orNull(column.string(20))) phoneNumber: string | null;
  @Column(orNull(column.string(40))) lid: string | null;
  /** The WhatsApp account that the session was last linked to; a logout does not clear it. See linked-account.ts. */
  @Column(orNull(column.json())) linkedAccount: WhatsappAccount | null;
  @Column(column.integer({ default: 1 })) linkedAccountNumber: number;
  @Column(orNull(column.string(128))) pushName: string | null;
  @Column(orNull(column.string(40))) platform: string | null;
  @Column(orNull(column.string(40))) whatsappWebVersion: string | null;
  @Column(orNull(column.json())) compat: CompatReport[] | null;
  /** The result of the worker's last check of the page. */
  @Column(orNull(column.json())) selfCheck: SelfCheck | null;
  /** What the worker reported last about the account. */
  @Column(orNull(column.json())) accountLimits: AccountLimits | null;
  /** When marking received messages as seen was switched on: earlier ones stay as they are. Null: it is off. */
  @Column(orNull(column.time())) autoReadSince: Date | null;
  /** How often a browser was restarted for its memory. */
  @Column(column.integer({ default: 0 })) recycles: number;
  /** The restriction of the account that WhatsApp has reported last, until it is lifted. See restrictions.ts. */
  @Column(orNull(column.json())) restriction: AccountRestriction | null;
  /** The outcomes of the last messages to new chats, oldest first. See first-contacts.ts. */
  @Column(column.string(64, { default: '' })) firstContacts: string;
  /** When the session was slowed down, and the restriction that was the reason. See lib/throttle.ts. */
  @Column(orNull(column.json())) throttle: Throttle | null;

  @Column(orNull(column.text({ select: false }))) qrText: string | null;
  @Column(orNull(column.id())) qrId: string | null;
  @Column(orNull(column.time())) qrExpiresAt: Date | null;
  /** The newest pairing code while the session waits to be linked. */
  @Column(orNull(column.json({ select: false }))) pairingCode: PairingCode | null;

  @Column(column.json()) settings: SessionSettings;
  /** The password of the proxy in `settings`, sealed. See proxies.ts. */
  @Column(orNull(column.text({ select: false }))) proxyPassword: string | null;
  @Column(column.json()) metadata: Record<string, unknown>;
  @Column(column.integer({ default: 0 })) sentCount: number;
  @Column(column.integer({ default: 0 })) receivedCount: number;
  @Column(column.integer({ default: 0 })) failedCount: number;
  @Column(column.integer({ default: 0 })) reconnectAttempts: number;
  @Column(column.integer({ default: 0 })) errorCount: number;
  @Column(orNull(column.text())) lastError: string | null;
  @Column(orNull(column.integer())) memoryMb: number | null;
  @Column(orNull(column.integer())) roundTripMs: number | null;
  /** The copy of the login that the worker last reported. */
  @Column(orNull(column.json())) loginCopy: LoginCopy | null;

  @Column(orNull(column.string(64))) workerId: string | null;
  @Column(column.integer({ default: 0 })) leaseEpoch: number;
  @Column(orNull(column.time())) leaseExpiresAt: Date | null;

  /** All messages up to this time are recorded, of the WhatsApp account with this number. Null until the session first connects. */
  @Column(orNull(column.time())) caughtUpAt: Date | null;
  @Column(orNull(column.string(20))) caughtUpNumber: string | null;

  @Column(orNull(column.time())) lastSeen: Date | null;
  @Column(orNull(column.time())) connectedAt: Date | null;
  @Column(orNull(column.time())) disconnectedAt: Date | null;
  /** The duration of all connections that have ended. */
  @Column(column.big({ default: 0 })) connectedMs: number;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
  @Column(orNull(column.time())) deletedAt: Date | null;
  /** The session is deleted and its worker still has the login on its disk. */
  @Column(column.flag({ default: false })) wipePending: boolean;
}

/** Shown for a session whose stored settings are damaged. Code that needs the settings fails until they are saved again. */
export const noSettings: SessionSettings = {
  autoReconnect: false,
  storeMedia: false,
  countryCode: null,
  queueIfOffline: false,
  maxQueueAgeHours: 24,
  pacing: { perMinute: 0, chatGapMs: 0, jitterMs: 0, typing: false },
};
