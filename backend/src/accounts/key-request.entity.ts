import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** One of the last requests that were made with a key. Without path, query, headers and body: a route's pattern names what was done. */
@Entity({ name: 'api_key_requests' })
@Index('api_key_requests_key', ['keyId', 'id'])
@Index('api_key_requests_time', ['at'])
export class ApiKeyRequest {
  /** In the order of the requests of one process. */
  @PrimaryColumn(column.id()) id: string;
  @Column(column.id()) keyId: string;
  @Column(column.time()) at: Date;
  @Column(column.string(10)) method: string;
  /** The pattern of the route, such as `/messages/:messageId`. */
  @Column(column.string(120)) route: string;
  @Column(column.integer()) status: number;
  /** The code of an error reply. */
  @Column(orNull(column.string(64))) code: string | null;
  @Column(column.integer()) ms: number;
  @Column(column.string(128)) requestId: string;
}
