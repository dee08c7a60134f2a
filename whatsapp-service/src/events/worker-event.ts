import type { WorkerEventPayload, WorkerEventType } from '@chasqui/shared';

/** An event of a session for the backend: its type and the payload of that type. */
export type WorkerEvent = { [T in WorkerEventType]: { event: T; payload: WorkerEventPayload<T> } }[WorkerEventType];
