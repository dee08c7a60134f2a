import { failPoint } from '@chasqui/shared/fail-point';
import { Table, type MigrationInterface, type QueryRunner, type TableColumnOptions } from 'typeorm';

/**
 * The first tables. Types are the portable ones of `columns.ts`; a test asks TypeORM's schema builder on both databases whether it
 * would change anything, and fails when it would.
 */
export class Foundation1763600000000 implements MigrationInterface {
  name = 'Foundation1763600000000';

  async up(runner: QueryRunner): Promise<void> {
    // The one difference: SQLite has no words for booleans.
    const sqlite = runner.connection.options.type !== 'postgres';
    const portable = (column: C): C =>
      sqlite && column.type === 'boolean' && column.default
        ? { ...column, default: column.default === 'true' ? '1' : '0' }
        : column;
    for (const [name, { columns, indices }] of Object.entries(tables)) {
      await runner.createTable(
        new Table({
          name,
          columns: columns.map(portable),
          indices: indices.map(([index, ...names]) => {
            const unique = index.endsWith('!');
            return { name: unique ? index.slice(0, -1) : index, columnNames: names, isUnique: unique };
          }),
        }),
      );
      failPoint('migration.half');
    }
  }

  async down(): Promise<void> {
    await Promise.reject(new Error('Migrations only move forward. Restore a backup instead.'));
  }
}

type C = TableColumnOptions;
const optional = { isNullable: true };
const id = (name: string, more: Partial<C> = {}): C => ({ name, type: 'varchar', length: '36', ...more });
const string = (name: string, length: number, more: Partial<C> = {}): C => ({
  name,
  type: 'varchar',
  length: String(length),
  ...more,
});
const text = (name: string, more: Partial<C> = {}): C => ({ name, type: 'text', ...more });
const integer = (name: string, more: Partial<C> = {}): C => ({ name, type: 'integer', ...more });
const big = (name: string, more: Partial<C> = {}): C => ({ name, type: 'bigint', ...more });
const flag = (name: string, value?: boolean): C => ({
  name,
  type: 'boolean',
  ...(value === undefined ? {} : { default: String(value) }),
});
const word = (value: string) => ({ default: `'${value}'` });
const zero = { default: '0' };
const primary = { isPrimary: true };

/** A unique index carries a `!` behind its name. */
const tables: Record<string, { columns: C[]; indices: [string, ...string[]][] }> = {
  accounts: {
    columns: [
      id('id', primary),
      string('username', 64),
      string('email', 254),
      string('passwordHash', 255),
      flag('mustChangePassword', false),
      string('jwtSecret', 64),
      string('role', 8),
      flag('isActive', true),
      string('timezone', 64, word('UTC')),
      string('uncertainPolicy', 8, word('hold')),
      integer('maxSessions', { default: '10' }),
      big('lastLoginAt', optional),
      big('createdAt'),
      big('updatedAt'),
    ],
    indices: [
      ['accounts_username!', 'username'],
      ['accounts_email!', 'email'],
    ],
  },
  api_keys: {
    columns: [
      id('id', primary),
      id('accountId'),
      id('sessionId', optional),
      flag('isPrimary', false),
      string('name', 100),
      string('hash', 64),
      string('prefix', 16),
      string('lastFour', 4),
      text('permissions'),
      flag('isActive', true),
      big('expiresAt', optional),
      big('lastUsedAt', optional),
      big('createdAt'),
    ],
    indices: [
      ['api_keys_account', 'accountId', 'createdAt'],
      ['api_keys_hash!', 'hash'],
    ],
  },
  sessions: {
    columns: [
      id('id', primary),
      id('accountId'),
      string('name', 64),
      string('liveName', 64),
      flag('isDefault', false),
      string('deviceName', 64, optional),
      string('desired', 8, word('stopped')),
      string('status', 20, word('disconnected')),
      string('reasonCode', 40, optional),
      text('reasonText', optional),
      string('phoneNumber', 20, optional),
      string('lid', 40, optional),
      string('pushName', 128, optional),
      string('platform', 40, optional),
      string('whatsappWebVersion', 40, optional),
      text('compat', optional),
      text('qrText', optional),
      id('qrId', optional),
      big('qrExpiresAt', optional),
      text('settings'),
      text('metadata'),
      integer('sentCount', zero),
      integer('receivedCount', zero),
      integer('failedCount', zero),
      integer('reconnectAttempts', zero),
      integer('errorCount', zero),
      text('lastError', optional),
      integer('memoryMb', optional),
      integer('roundTripMs', optional),
      string('workerId', 64, optional),
      integer('leaseEpoch', zero),
      big('leaseExpiresAt', optional),
      big('lastSeen', optional),
      big('connectedAt', optional),
      big('disconnectedAt', optional),
      big('createdAt'),
      big('updatedAt'),
      big('deletedAt', optional),
      flag('wipePending', false),
    ],
    indices: [
      ['sessions_account_name!', 'accountId', 'liveName'],
      ['sessions_desired', 'desired', 'deletedAt'],
    ],
  },
  messages: {
    columns: [
      id('id', primary),
      id('accountId'),
      id('sessionId'),
      string('whatsappId', 160, optional),
      string('whatsappKey', 80),
      string('direction', 8),
      string('origin', 10),
      string('type', 20),
      string('status', 12),
      string('reasonCode', 40, optional),
      text('reasonText', optional),
      string('chatId', 80),
      string('chatType', 8),
      string('chatName', 256, optional),
      text('contact', optional),
      string('fromId', 80, optional),
      string('toId', 80, optional),
      text('content', optional),
      text('text', optional),
      id('mediaId', optional),
      text('options', optional),
      text('mentions'),
      flag('isForwarded', false),
      string('quotedMessageId', 160, optional),
      string('cost', 20, word('0.0000')),
      integer('attempts', zero),
      big('nextAttemptAt', optional),
      id('leaseOwner', optional),
      big('leaseExpiresAt', optional),
      integer('epoch', optional),
      big('timestamp', optional),
      big('expiresAt', optional),
      big('createdAt'),
      big('scheduledAt', optional),
      big('queuedAt', optional),
      big('sentAt', optional),
      big('deliveredAt', optional),
      big('readAt', optional),
      big('playedAt', optional),
      big('failedAt', optional),
      big('cancelledAt', optional),
      big('editedAt', optional),
      big('revokedAt', optional),
      big('deletedAt', optional),
    ],
    indices: [
      ['messages_account_time', 'accountId', 'createdAt', 'id'],
      ['messages_session_time', 'sessionId', 'createdAt', 'id'],
      ['messages_session_key!', 'sessionId', 'whatsappKey'],
      ['messages_due', 'status', 'sessionId', 'nextAttemptAt', 'createdAt'],
      ['messages_chat', 'sessionId', 'chatId', 'createdAt'],
    ],
  },
  idempotency_records: {
    columns: [
      id('accountId', primary),
      string('key', 255, primary),
      string('requestHash', 64),
      id('messageId', optional),
      integer('status', optional),
      text('body', optional),
      big('createdAt'),
      big('expiresAt'),
    ],
    indices: [['idempotency_expiry', 'expiresAt']],
  },
  media_files: {
    columns: [
      id('id', primary),
      id('accountId'),
      id('messageId', optional),
      string('state', 8),
      string('reason', 160, optional),
      string('mimetype', 127),
      big('size', optional),
      string('filename', 255, optional),
      string('sha256', 64, optional),
      integer('attempts', zero),
      big('nextAttemptAt', optional),
      big('createdAt'),
      big('deletedAt', optional),
    ],
    indices: [
      ['media_files_message', 'messageId'],
      ['media_files_account', 'accountId', 'createdAt'],
    ],
  },
  events: {
    columns: [
      big('cursor', primary),
      id('id'),
      id('accountId'),
      id('sessionId', optional),
      big('sequence', optional),
      string('type', 40),
      id('messageId', optional),
      text('data'),
      big('occurredAt'),
    ],
    indices: [
      ['events_account', 'accountId', 'cursor'],
      ['events_session', 'sessionId', 'sequence'],
      ['events_message', 'messageId', 'cursor'],
      ['events_id!', 'id'],
    ],
  },
  event_counters: { columns: [string('scope', 36, primary), big('last')], indices: [] },
  workers: {
    columns: [
      string('id', 64, primary),
      string('url', 255),
      string('bootId', 64),
      string('version', 20),
      flag('draining', false),
      integer('capacity'),
      integer('sessions', zero),
      integer('memoryMb', optional),
      integer('memoryLimitMb', optional),
      integer('cpuPercent', optional),
      big('lastHeartbeatAt'),
    ],
    indices: [],
  },
  inbox_events: {
    columns: [id('id', primary), string('workerId', 64), big('cursor'), big('receivedAt')],
    indices: [['inbox_events_time', 'receivedAt']],
  },
  inbox_positions: {
    columns: [id('sessionId', primary), string('workerId', 64, primary), integer('epoch', zero), big('sequence')],
    indices: [],
  },
  panel_sessions: {
    columns: [string('id', 64, primary), id('accountId', optional), text('data'), big('expiresAt')],
    indices: [['panel_sessions_expiry', 'expiresAt']],
  },
  audit_logs: {
    columns: [
      id('id', primary),
      big('at'),
      id('accountId', optional),
      string('actorType', 8),
      string('actorName', 100, optional),
      string('action', 64),
      string('objectType', 32),
      string('objectId', 64, optional),
      text('changes'),
      string('ip', 64, optional),
      string('requestId', 128, optional),
    ],
    indices: [
      ['audit_logs_time', 'at'],
      ['audit_logs_account', 'accountId', 'at'],
    ],
  },
};
