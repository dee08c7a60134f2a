import type { z } from 'zod';
import { calls } from './calls.js';
import { channels } from './channels.js';
import { chats } from './chats.js';
import { communities } from './communities.js';
import { contacts } from './contacts.js';
import { groups } from './groups.js';
import { history } from './history.js';
import { labels } from './labels.js';
import { messages } from './messages.js';
import { presence } from './presence.js';
import { profile } from './profile.js';
import { stories } from './stories.js';

export { type ChannelResource } from './channels.js';
export { type CommunityResource } from './communities.js';
export { type GroupParticipant, type GroupResource, type ParticipantResult } from './groups.js';
export { type SeenMessage } from './seen-message.js';
export {
  changeErrors,
  defineOperation,
  fileErrors,
  operationErrors,
  operationRoute,
  operationRoutes,
  type AddressRole,
  type Operation,
} from './operation.js';

/**
 * Operations are passed through to WhatsApp: check the caller, find the session, run it in the page, return the result. Each is one row in
 * the file of its noun here, and one function of the same id in `whatsapp-service/src/engine/wwebjs/operations/<noun>.ts`. The backend mounts
 * the rows, the worker dispatches them through one internal route, and OpenAPI, `GET /capabilities` and the isolation tests loop over them.
 */
export const operations = keyedById({
  ...messages,
  ...chats,
  ...labels,
  ...presence,
  ...contacts,
  ...history,
  ...profile,
  ...groups,
  ...communities,
  ...channels,
  ...calls,
  ...stories,
});

export type OperationId = keyof typeof operations;
export type OperationInput<K extends OperationId> = z.output<(typeof operations)[K]['input']>;
export type OperationOutput<K extends OperationId> = z.output<(typeof operations)[K]['output']>;

/** The part of an id before its first dot. */
export type OperationNoun = OperationId extends `${infer Noun}.${string}` ? Noun : never;
/** The operations of one noun. */
export type OperationIdOf<Noun extends OperationNoun> = Extract<OperationId, `${Noun}.${string}`>;

export const operationIds = Object.keys(operations) as OperationId[];
export const isOperationId = (id: string): id is OperationId => Object.hasOwn(operations, id);

/** A row under another key than its id does not compile. */
function keyedById<T extends Record<string, { id: string }>>(rows: T & { readonly [Id in keyof T]: { id: Id } }): T {
  return rows;
}
