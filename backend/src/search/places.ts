/** Where a search looks: a place is the position of a message in the index, and says when the message was accepted. */

/** A part of the index, in the order in which it is read. Null: no bound. */
export interface PlaceRange {
  order: 'asc' | 'desc';
  after: string | null;
  last: string | null;
}

/** The id of a chat, or of a person who writes in chats with several people. `sessionId` null: in every session. */
export interface NamedChat {
  sessionId: string | null;
  waId: string;
}

/** The same of one session. */
export interface KnownChat extends NamedChat {
  sessionId: string;
}
