import { readFileSync, renameSync } from 'node:fs';

/**
 * The lines of code at which crash tests end a process, with what is on disk at that moment. Only those tests arm them; otherwise a call costs one
 * comparison. This is one of the entries of `shared` that use the operating system, because both processes need it.
 */
export const failPoints = {
  'migration.half': 'backend: some tables of the first migration exist',
  'accept.written': 'backend: a message is written, its commit is not made',
  'accept.committed': 'backend: a message is on disk, no reply or event was sent',
  'reply.stored': 'backend: the reply to an Idempotency-Key is on disk, and not sent',
  'call.done': 'backend: a call with an Idempotency-Key has had its effect, its reply is not stored',
  'bulk.accepted': 'backend: a bulk job with its recipients is on disk, no reply was sent',
  'bulk.expanded': 'backend: a recipient of a bulk job has a message, the commit is not made',
  'bulk.fed': 'backend: a message of a bulk job is on disk, the next recipient was not looked for',
  'bulk.counted': 'backend: a recipient follows the outcome of its message, the commit is not made',
  'bulk.paused': 'backend: a bulk job is paused on disk, no reply was sent',
  'bulk.resumed': 'backend: a bulk job is resumed on disk, no reply was sent',
  'bulk.cancelled': 'backend: a bulk job is cancelled on disk, no reply was sent',
  'due.written': 'backend: a scheduled message is queued, its commit is not made',
  'due.committed': 'backend: a scheduled message is queued on disk, nothing was claimed',
  'occurrence.written':
    'backend: a schedule is moved to its next time, the message of the occurrence and the commit are not made',
  'occurrence.committed': 'backend: the message of an occurrence is on disk, the next schedule was not looked for',
  'claim.written': 'backend: a claim is written, its commit is not made',
  'claim.committed': 'backend: a message is `sending` under its reserved id, the worker was not called',
  'outcome.received': 'backend: the worker has answered, the answer is not written',
  'outcome.committed': 'backend: the outcome is on disk, the next message was not looked for',
  'lookup.received': 'backend: a lookup of an uncertain message has answered, nothing is written',
  'identity.written': 'backend: a session is linked to another WhatsApp account, which is written and not committed',
  'identity.held': 'backend: a message of the earlier account is held back on disk, the next message was not looked for',
  'lookup.unacknowledged': 'backend: a lookup has found an uncertain message with ack 0, nothing is written',
  'inbox.written': 'backend: a batch of a worker’s events is written, its commit is not made',
  'inbox.committed': 'backend: the batch is on disk, the worker has no reply',
  'send.accepted': 'worker: the send record knows the message, the page does not',
  'send.identity': 'worker: the record knows the send, the account is about to be compared for the last time',
  'send.handed-over': 'worker: the record says handed over, the page was not called',
  'send.answered': 'worker: the page has sent, the record does not know',
  'send.settled': 'worker: the record knows the outcome, the backend does not',
  'event.seen': 'worker: the page has reported a message or an ack, nothing is written',
  'ring.recorded': 'worker: a call is on disk, nothing was done about it',
  'ring.rejected': 'worker: the page has rejected a call, the outlet does not have it',
  'outlet.written': 'worker: events are written to the outlet, their commit is not made',
  'outlet.committed': 'worker: events are in the outlet, the backend has none of them',
  'delivery.answered': 'worker: the backend has ingested events, the outlet still counts them as waiting',
  'webhook.claimed': 'backend: deliveries are claimed on disk, nothing was posted',
  'webhook.answered': 'backend: the receiver has answered, the outcome is not written',
  'webhook.settled': 'backend: outcomes are on disk, the next deliveries were not looked for',
  'erasure.half': 'backend: a part of the data about a contact is erased, the rest is not',
  'backup.snapshot': 'backup: the snapshot of the database is on disk, the archive is empty',
  'backup.written': 'backup: the archive is complete under its temporary name',
  'backup.named': 'backup: the archive has its name, its row is `running`',
  'restore.extracted': 'restore: everything is on disk below `.restoring`, nothing is checked',
  'restore.checked': 'restore: everything is checked, and nothing has moved to its place',
  'restore.loaded': 'restore: PostgreSQL has the data, and does not know yet that it was restored',
  'restore.moved': 'restore: a part is in its place, the others are not',
  'restore.settled': 'backend: a part of the messages of a restored backup is settled, the rest is not',
  'profile.deleting': 'worker: a login is about to be deleted from disk',
} as const;
export type FailPoint = keyof typeof failPoints;

/** The content of the file of `armFailPoints`, which a crash test writes: when `point` is passed for the `pass`-th time, the victims are killed. */
export interface FailOrder {
  id: string;
  point: FailPoint;
  pass: number;
  /** Process ids, or `self` for the process that passes the point. They get SIGKILL in this order. */
  victims: (number | 'self')[];
}

let orderFile: string | null = null;
let counted = { id: '', passes: 0 };

/** Called once, by main.ts. Without a file, fail points never end a process. */
export function armFailPoints(file: string | undefined): void {
  orderFile = file ?? null;
}

/** Does nothing unless a crash test has armed this point. Then it kills processes; if this one is among them, it does not return. */
export function failPoint(name: FailPoint): void {
  if (orderFile !== null) pass(orderFile, name);
}

function pass(file: string, name: FailPoint): void {
  const order = read(file);
  if (order?.point !== name) return;
  counted = { id: order.id, passes: counted.id === order.id ? counted.passes + 1 : 1 };
  if (counted.passes !== order.pass) return;
  // Renamed before the kill: a restarted process must not find the same order again.
  try {
    renameSync(file, `${file}.hit`);
  } catch {
    return; // Another process passed the same point at this moment.
  }
  for (const victim of order.victims) kill(victim === 'self' ? process.pid : victim);
}

function read(file: string): FailOrder | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as FailOrder;
  } catch {
    return null; // No order now: the file does not exist, or is being renamed.
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    return; // Gone already, with its browser for example.
  }
}
