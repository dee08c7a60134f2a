import type { JobRunStatus, JobTrigger } from '@chasqui/shared';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { column, orNull } from '../db/columns.js';

/** What a step of a job did: named counts, such as `{ deleted: 12 }`. */
export type Counts = Record<string, number>;

/** How one step of a run ended. */
export interface StepResult {
  name: string;
  durationMs: number;
  counts: Counts;
  /** Null: the step succeeded. */
  error: { code: string; detail: string } | null;
}

/** One run of a job. At most one run of a job is requested or running: the index `job_runs_open` refuses a second one. */
@Entity({ name: 'job_runs' })
@Index('job_runs_open', ['job'], { unique: true, where: `"status" IN ('requested', 'running')` })
@Index('job_runs_job', ['job', 'id'])
@Index('job_runs_created', ['createdAt'])
export class JobRun {
  @PrimaryColumn(column.id()) id: string;
  @Column(column.string(40)) job: string;
  @Column(column.string(12)) status: JobRunStatus;
  @Column(column.string(10)) trigger: JobTrigger;
  /** Who requested it: the account and the name of the credential. Null: the run was due, and no person requested it. */
  @Column(orNull(column.id())) requestedBy: string | null;
  @Column(orNull(column.string(100))) requestedByName: string | null;
  /** The scheduled time that this run is for. */
  @Column(orNull(column.time())) scheduledFor: Date | null;
  @Column(column.time()) createdAt: Date;
  @Column(orNull(column.time())) startedAt: Date | null;
  @Column(orNull(column.time())) endedAt: Date | null;
  /** The term of the leader that runs it. Only that leader may end it, as long as no later one has declared it interrupted. */
  @Column(orNull(column.big())) term: number | null;
  @Column(column.json()) steps: StepResult[];
  /** Why it did not succeed. */
  @Column(orNull(column.string(64))) code: string | null;
  @Column(orNull(column.string(200))) detail: string | null;
}

/** The state of one job that the scheduler stores. */
@Entity({ name: 'job_states' })
export class JobState {
  @PrimaryColumn(column.string(40)) name: string;
  /** Staff have stopped its schedule. It can still be run by hand. */
  @Column(column.flag()) isStopped: boolean;
  /** Scheduled times up to here were run, or passed while the job was stopped. */
  @Column(column.time()) handledUntil: Date;
  /** How many times in a row it failed or was interrupted. */
  @Column(column.integer()) failures: number;
  /** When it runs again after a failure. */
  @Column(orNull(column.time())) retryAt: Date | null;
}

/** The single row that names the backend that runs the jobs. Each backend that becomes the leader gets the next term. */
@Entity({ name: 'job_leader' })
export class JobLeader {
  @PrimaryColumn(column.string(8)) id: string;
  @Column(column.big()) term: number;
  /** The id of the leading backend, which its claims of messages contain too. */
  @Column(orNull(column.id())) owner: string | null;
  /** When the leader last renewed its term, which it does every few seconds. */
  @Column(column.time()) renewedAt: Date;
}
