import { In, type DataSource } from 'typeorm';
import { Account } from '../../accounts/account.entity.js';
import { readable } from '../../db/unreadable.js';
import { PrivacyRequest } from '../../privacy/privacy-request.entity.js';

/** An export or an erasure of one contact, as the panel shows it. Times are ISO texts. */
export interface PrivacyRequestView {
  id: string;
  kind: PrivacyRequest['kind'];
  status: PrivacyRequest['status'];
  /** Null once the contact was erased. */
  contact: string | null;
  account: { id: string; name: string };
  counts: Record<string, number>;
  createdAt: string;
  finishedAt: string | null;
  /** Of an export: its archive can be downloaded until then. */
  expiresAt: string | null;
  hasArchive: boolean;
}

export interface PrivacyView {
  requests: PrivacyRequestView[];
}

const maxRows = 100;

/** The latest exports and erasures of all accounts, the newest first. */
export async function privacyView(reader: DataSource, now: Date): Promise<PrivacyView> {
  const rows = await reader.getRepository(PrivacyRequest).find({ order: { createdAt: 'DESC', id: 'DESC' }, take: maxRows });
  const accounts = await reader.getRepository(Account).find({
    where: { id: In([...new Set(rows.map((row) => row.accountId))]) },
    select: { id: true, username: true },
  });
  const names = new Map(accounts.map(({ id, username }) => [id, username]));
  return {
    requests: rows.map((row) => ({
      id: row.id,
      kind: row.kind,
      status: row.status,
      contact: row.contact,
      account: { id: row.accountId, name: names.get(row.accountId) ?? row.accountId },
      counts: readable(row.counts, {}),
      createdAt: row.createdAt.toISOString(),
      finishedAt: row.finishedAt?.toISOString() ?? null,
      expiresAt: row.expiresAt?.toISOString() ?? null,
      hasArchive: row.kind === 'export' && row.status === 'done' && row.expiresAt !== null && row.expiresAt > now,
    })),
  };
}
