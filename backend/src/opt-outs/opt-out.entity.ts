import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';
import type { Keywords } from './keywords.js';

export const optOutSources = ['api', 'keyword', 'panel'] as const;
export type OptOutSource = (typeof optOutSources)[number];

/** One person of an account who opted out, or did so and opted in again. The ids of the person are rows of `opt_out_forms`. */
@Entity({ name: 'opt_outs' })
@Index('opt_outs_account', ['accountId', 'state', 'changedAt', 'id'])
export class OptOut {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) accountId: string;
  /** The id under which the person was named. Null once the person was erased on request. */
  @Column(orNull(column.string(40))) waId: string | null;
  /** `in`: the person opted in again. The row stays, so that an older message that is read later does not opt the person out. */
  @Column(column.string(3)) state: 'out' | 'in';
  @Column(column.string(8)) source: OptOutSource;
  /** The keyword of the account that the person sent. */
  @Column(orNull(column.string(64))) keyword: string | null;
  /** When the person last opted out or in, also if they had done so before: by a keyword, the time of the message. */
  @Column(column.time()) changedAt: Date;
  /** When the person last got an answer to a keyword. */
  @Column(orNull(column.time())) repliedAt: Date | null;
  @Column(column.time()) createdAt: Date;
}

/** One id of a person in `opt_outs`, as a keyed hash: it is found by the id, and does not reveal it. */
@Entity({ name: 'opt_out_forms' })
@Index('opt_out_forms_person', ['optOutId'])
export class OptOutForm {
  @PrimaryColumn(column.id()) accountId: string;
  @PrimaryColumn(column.string(43)) hash: string;
  @Column(column.id()) optOutId: string;
}

/** The hash key and the keywords of an account. */
@Entity({ name: 'opt_out_settings' })
export class OptOutSettings {
  @PrimaryColumn(column.id()) accountId: string;
  /** The key of the hashes, sealed. */
  @Column(column.text()) hashKey: string;
  /** Null: the default keywords. */
  @Column(orNull(column.json())) keywords: Keywords | null;
}
