import { Column, Entity, PrimaryColumn } from 'typeorm';
import { column } from '../db/columns.js';

/** Requests made with a key; written in batches, for people to look at. */
@Entity({ name: 'api_key_usage' })
export class ApiKeyUsage {
  @PrimaryColumn(column.id()) keyId: string;
  @Column(column.big({ default: 0 })) successful: number;
  @Column(column.big({ default: 0 })) failed: number;
}
