import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** Limits that several accounts share. 0: no limit. */
@Entity({ name: 'plans' })
export class Plan {
  @PrimaryColumn(column.id()) id: string;
  @Index('plans_name', { unique: true }) @Column(column.string(64)) name: string;
  @Column(column.integer()) dailyMessages: number;
  @Column(column.integer()) monthlyMessages: number;
  @Column(column.integer()) maxSessions: number;
  /** Requests an hour, for each session. */
  @Column(column.integer()) apiLimit: number;
  /** A decimal, as text: money is never a float. */
  @Column(column.string(20)) pricePerMessage: string;
  /** ISO 4217. */
  @Column(column.string(3)) currency: string;
  @Column(column.time()) createdAt: Date;
  @Column(column.time()) updatedAt: Date;
}
