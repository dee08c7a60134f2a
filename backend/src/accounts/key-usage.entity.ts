import { Column, Entity, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** The number of requests made with a key. Written in batches; the figures are for people. */
@Entity({ name: 'api_key_usage' })
export class ApiKeyUsage {
  @PrimaryColumn(column.id()) keyId: string;
  @Column(column.big({ default: 0 })) successful: number;
  @Column(column.big({ default: 0 })) failed: number;
}
