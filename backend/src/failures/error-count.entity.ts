import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** The error replies of one code in a quarter of an hour. `sample` describes the last one, without its content. */
@Entity({ name: 'error_counts' })
@Index('error_counts_time', ['at'])
export class ErrorCount {
  @PrimaryColumn(column.string(64)) code: string;
  /** The beginning of the quarter of an hour. */
  @PrimaryColumn(column.big()) at: number;
  @Column(column.integer()) count: number;
  @Column(column.time()) lastAt: Date;
  @Column(column.json()) sample: ErrorSample;
}

export interface ErrorSample {
  requestId: string;
  method: string;
  /** The pattern of the route. */
  route: string;
  status: number;
  accountId: string | null;
}
