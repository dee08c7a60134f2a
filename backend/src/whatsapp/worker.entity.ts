import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** A worker as its last heartbeat described it. */
@Entity({ name: 'workers' })
export class Worker {
  @PrimaryColumn(column.string(64)) id: string;
  @Column(column.string(255)) url: string;
  @Column(column.string(64)) bootId: string;
  @Column(column.string(20)) version: string;
  /** The worker reports that it is stopping. */
  @Column(column.flag({ default: false })) draining: boolean;
  /** Staff want it to get no new sessions. A restart of the worker does not change this. */
  @Column(column.flag({ default: false })) drainRequested: boolean;
  @Column(column.flag({ default: false })) degraded: boolean;
  @Column(column.integer()) capacity: number;
  @Column(column.integer({ default: 0 })) sessions: number;
  @Column(orNull(column.integer())) memoryMb: number | null;
  @Column(orNull(column.integer())) memoryLimitMb: number | null;
  @Column(orNull(column.integer())) cpuPercent: number | null;
  @Column(column.time()) lastHeartbeatAt: Date;
}

/** Worker events that were ingested or refused: an event with a known id changes nothing. */
@Entity({ name: 'inbox_events' })
@Index('inbox_events_time', ['receivedAt'])
export class InboxEvent {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.string(64)) workerId: string;
  @Column(column.big()) cursor: number;
  @Column(column.time()) receivedAt: Date;
  /** The code with which the event was refused. A batch whose reply was lost comes again, and the worker parks only what is refused then too. */
  @Column(orNull(column.string(40))) refusal: string | null;
}

/** The last sequence that was ingested from a worker for a session, within the epoch. Events of a gap are requested again. */
@Entity({ name: 'inbox_positions' })
export class InboxPosition {
  @PrimaryColumn(column.id()) sessionId: string;
  @PrimaryColumn(column.string(64)) workerId: string;
  @Column(column.integer({ default: 0 })) epoch: number;
  @Column(column.big()) sequence: number;
}
